"""Kept broadcasts of a product: one log for all its users, a position per device.

    db_bcast:{product}   zset    mid -> bseq, the newest ones
    db_bseq:{product}    string  the last bseq given
    db_bmeta:{product}   hash    mid -> `expire_ms:size`; cut (newest bseq dropped alive); run_id

`bseq` is max(last + 1, unix ms): a Redis that lost its end does not give one twice.
What a broadcast costs does not depend on how many users there are.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from common.net.store import Store, value

BEFORE_THE_FIRST = 1
"""Position of a device that came before any broadcast; 0 would mean it has none."""


class Page(NamedTuple):
    """Broadcasts after a position.

    Args:
        gap: something after it was dropped.
        more: more follows after `bseq`.
        bseq: where to go on from.
        entries: (bseq, mid), ascending.
    """

    gap: bool
    more: bool
    bseq: int
    entries: list[tuple[int, int]]


def put(
    store: Store, product: str, mid: int, expires_ms: int, size: int, now_ms: int, keep: int
) -> tuple[int, int, list[int]]:
    """Append a broadcast, once; give its bseq, the one before it (bseq - 1 for a repeat), mids let go."""
    keys = (f"db_bcast:{{{product}}}", f"db_bseq:{{{product}}}", f"db_bmeta:{{{product}}}")
    bseq, prev, gone = store.script("bcast_put", keys, mid, expires_ms, size, now_ms, keep)
    return bseq, bseq - 1 if prev < 0 else prev, [int(one) for one in gone]


def load(
    store: Store, product: str, after: int, limit: int, max_bytes: int, now_ms: int, at_least_one: bool
) -> Page:
    """Give what follows bseq `after`, without what has expired.

    Args:
        at_least_one: give the first however large it is.
    """
    keys = (f"db_bcast:{{{product}}}", f"db_bmeta:{{{product}}}")
    args = (after, limit, max(max_bytes, 0), now_ms, int(at_least_one))
    gap, more, bseq, flat = store.script("bcast_load", keys, *args)
    entries = [(number, int(mid)) for number, mid in zip(flat[::2], flat[1::2], strict=True)]
    return Page(bool(gap), bool(more), bseq, entries)


def newest_command(product: str) -> tuple[str, str]:
    """Give the command that reads the last bseq; `newest` reads its reply."""
    return "GET", f"db_bseq:{{{product}}}"


def newest(reply: bytes | None) -> int:
    """Read the last bseq given; BEFORE_THE_FIRST when there was none."""
    return int(reply or BEFORE_THE_FIRST)


def bounds(store: Store, products: Iterable[str], now_ms: int) -> dict[str, int]:
    """Give for each product the highest bseq that may have been given.

    Where Redis restarted since the last broadcast it may have forgotten one; any up to now counts.
    """
    names = sorted(set(products))
    commands = [
        command
        for name in names
        for command in (newest_command(name), ("HGET", f"db_bmeta:{{{name}}}", "run_id"))
    ]
    replies = [value(reply) for reply in store.run(commands)]
    last, lives = map(newest, replies[::2]), replies[1::2]
    is_old = [life is not None and life.decode() != store.run_id for life in lives]
    return {
        name: max(bseq, now_ms) if old else bseq for name, bseq, old in zip(names, last, is_old, strict=True)
    }


def passed(store: Store, product: str, moves: list[tuple[int, int]]) -> dict[int, int]:
    """Give mid -> how many devices went past it, for moves (bseq before, bseq now).

    One round trip, whatever the number of moves.
    """
    low, high = min(before for before, _ in moves), max(now for _, now in moves)
    flat = store.call("ZRANGEBYSCORE", f"db_bcast:{{{product}}}", f"({low}", high, "WITHSCORES")
    bseqs = [int(score) for score in flat[1::2]]
    counts = [0] * len(bseqs)
    for before, now in moves:
        for place in range(bisect_right(bseqs, before), bisect_right(bseqs, now)):
            counts[place] += 1
    return {int(mid): count for mid, count in zip(flat[::2], counts, strict=True) if count}
