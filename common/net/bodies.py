"""Bodies of kept messages: stored once, however many receivers; the recent ones also in memory.

    db_buckets:<mid >> 10>   hash   mid -> `1` or `n`, then msgpack [product/sender, key, digest, body]

`1`: it has a single receiver, or is a broadcast, and goes with that slot; `n`: it goes with its bucket,
which expires with the latest of its messages. A body is written before any slot names it,
and never changed: one that is there stands for the request that comes again.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgpack

from common.errors import RoostError
from common.net.store import Argument, Command, Script, Store, value
from common.rules.cache import Cache, Keep

CACHED_ITEMS = 1_000_000
OVERHEAD = 200
"""Bytes an entry of the cache costs beside its body."""
BUCKET_SLACK_MS = 60_000
"""How much longer than its slot a body lives."""


class IdRepeated(RoostError):
    """A message id was given twice: the id region is broken, so the process must stop."""


class Origin(NamedTuple):
    """Where a message comes from.

    Args:
        sender: product/uid; the uid is "" for an application server.
        key: the sender's idempotency key, "" = none.
        digest: of the request.
    """

    sender: str
    key: str
    digest: str | bytes


class Bodies:
    """Bodies in Redis, and a cache of them found by mid (the one used longest ago leaves first).

    Args:
        cache_bytes: what the cache may hold.
    """

    def __init__(self, store: Store, cache_bytes: int) -> None:
        self._store = store
        self.keep = Keep(CACHED_ITEMS, cache_bytes, order="lru")
        self._cache: Cache[bytes] = Cache(self.keep)

    def put(self, mid: int, origin: Origin, body: bytes, is_single: bool, lasts_ms: int) -> None:
        """Store a body under its mid; where the request was here before, that body stands.

        Args:
            is_single: one slot names it, or the broadcast log.
            lasts_ms: how long it is needed.

        Raises:
            IdRepeated: another request has this mid; nothing was changed.
            Unavailable, DeadlineExceeded: it may be stored; repeat.
        """
        stored = (b"1" if is_single else b"n") + msgpack.packb([*origin, body])
        there = self._store.script("body_put", (_bucket(mid),), mid, stored, lasts_ms + BUCKET_SLACK_MS)
        if there:
            sender, key, digest, body = msgpack.unpackb(there[1:])
            is_same = sender == origin.sender and (digest == origin.digest or (key and key == origin.key))
            if not is_same:
                raise IdRepeated(
                    f"message id {mid} (shard {mid >> 44}) is {sender!r}'s and {origin.sender!r}'s"
                )
            has_more = there[:1] == b"1" and (digest != origin.digest or not is_single)
            if has_more and not self._store.script("body_share", (_bucket(mid),), mid):
                # Its first receiver took it along between the two calls.
                return self.put(mid, origin, body, False, lasts_ms)
        self._remember(mid, body)
        return None

    def get(self, mids: Iterable[int]) -> dict[int, bytes]:
        """Give the bodies there are, from memory or Redis (one round trip)."""
        found = {}
        buckets: dict[int, list[int]] = {}
        for mid in mids:
            entry = self._cache.get(mid)
            if entry is not None:
                found[mid] = entry.value
            else:
                buckets.setdefault(mid >> 10, []).append(mid)
        commands: list[Command] = [("HMGET", _bucket(group[0]), *group) for group in buckets.values()]
        for group, reply in zip(buckets.values(), self._store.run(commands), strict=True):
            for mid, stored in zip(group, value(reply), strict=True):
                if stored is not None:
                    found[mid] = msgpack.unpackb(stored[1:])[3]
                    self._remember(mid, found[mid])
        return found

    def drop_scripts(self, mids: Iterable[int]) -> list[Script]:
        """Give the commands that drop those of the bodies that had a single receiver."""
        buckets: dict[int, set[Argument]] = {}
        for mid in mids:
            buckets.setdefault(mid >> 10, set()).add(mid)
            self._cache.pop(mid)
        return [Script("body_drop", (_bucket(n << 10),), tuple(group)) for n, group in buckets.items()]

    def _remember(self, mid: int, body: bytes) -> None:
        self._cache.put(mid, body, len(body) + OVERHEAD, 0.0)


def _bucket(mid: int) -> str:
    return f"db_buckets:{mid >> 10}"
