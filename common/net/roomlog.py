"""Durable rooms in Redis: a stream of messages and who may append to it.

    room:{product/map/name}:log    stream  id = offset-0; uid, key, data, time (ms)
    room:{product/map/name}:meta   hash    epoch, offset, owner, run_id, bytes

One world process owns a room at a time. `load` takes ownership, `append` asks for it.
Offsets are given once: an epoch goes on as long as somebody remembers its newest
offset; where nobody does (Redis restarted and may have lost its end, and the world
is new too) the room gets a new epoch and goes on counting.

What the owner does with the statuses of `append`:

    ok            stored, `offset` is the newest; also when it was stored before (a repeat)
    fenced        somebody newer owns the room: stop serving it
    moved         `offset` is the newest stored and not what was expected.
                  Below the expected one: Redis lost its end. Append again from there with
                  the messages still remembered, or `load` with known_epoch and
                  known_offset and go on: the epoch stays and no offset is given twice.
                  0: Redis forgot the room; `load` in the same way.
                  Above: another content stands there, the owner's memory is wrong: `load`.
    unavailable   Redis refused this room (see its log); nothing was stored

After Unavailable or DeadlineExceeded repeat the same messages with the same expected
offset, at any dbserver; further messages may follow them in the same append.

Source: docs/storage.md, section 3.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from common.errors import Conflict, RequestError
from common.net.store import Script, Store, value

META_SECONDS = 86_400
"""How much longer than its messages a room's epoch and offset are remembered, in seconds;
also how long a room is that never had a message."""

Entry = list[Any]
"""[offset, uid, key, data, time_ms]; data is bytes, key "" when there is none."""


class Append(NamedTuple):
    """Messages for one room.

    Args:
        room: product/map/name.
        expected: the newest offset the owner knows; the first message gets the next one.
        messages: [uid, key, data, time_ms] each, in order.
        keep_items: how many the log keeps, at least 1.
        keep_bytes: their size (uid, key, data and 32 each); 0 = any.
        keep_seconds: how long the log lives after its last message; 0 = for good.
    """

    room: str
    expected: int
    messages: list[Any]
    keep_items: int
    keep_bytes: int = 0
    keep_seconds: float = 0


def keys(room: str) -> tuple[str, str]:
    """Give the keys of a room: meta, log."""
    return f"room:{{{room}}}:meta", f"room:{{{room}}}:log"


def load(
    store: Store,
    room: str,
    owner: str,
    keep_items: int,
    keep_bytes: int = 0,
    keep_seconds: float = 0,
    known_epoch: int = 0,
    known_offset: int = 0,
) -> tuple[int, int, list[Entry]]:
    """Take ownership of a room; give epoch, newest offset and what can be replayed.

    Args:
        owner: "name incarnation term". Of the same name an older one is refused; another
            name takes over (the placement changed).
        keep_items, keep_bytes, keep_seconds: what to give at most; 0 = any for the last two.
        known_epoch, known_offset: what this very process had the room at; 0 when it is new
            to it. They win over a Redis that remembers less.

    Returns:
        Entries ascending, without a hole, the last one at the newest offset; [] where
        that one is not kept.

    Raises:
        Conflict: fenced, a newer incarnation or term of this name owns the room.
        Unavailable, DeadlineExceeded: the ownership may have been taken; repeat.
    """
    now = time.time()
    args = (owner, int(now * 1_000_000), known_epoch, known_offset, META_SECONDS)
    newest_first = ("XREVRANGE", keys(room)[1], "+", "-", "COUNT", max(keep_items, 1))
    taken, entries = store.run([Script("room_load", keys(room), args), newest_first])
    verdict = value(taken)
    if verdict[0] == b"fenced":
        raise Conflict("the room has a newer owner", room=room, owner=verdict[1].decode())
    _, epoch, offset = verdict
    since_ms = (now - keep_seconds) * 1000 if keep_seconds else 0
    return epoch, offset, _replayable(value(entries), offset, keep_bytes, since_ms)


def append(store: Store, owner: str, appends: list[Append]) -> list[tuple[str, int]]:
    """Append to many rooms in one go; give (status, offset) each, in order.

    Raises:
        Unavailable, DeadlineExceeded, Internal: no room's outcome is known, or all were
            refused for the same reason.
    """
    replies = store.run([_script(owner, one) for one in appends])
    refused = [reply for reply in replies if isinstance(reply, RequestError)]
    if refused and len(refused) == len(replies):
        raise refused[0]
    return [
        ("unavailable", 0) if isinstance(reply, RequestError) else (reply[0].decode(), reply[1])
        for reply in replies
    ]


def _script(owner: str, one: Append) -> Script:
    limits = (max(one.keep_items, 1), one.keep_bytes, int(one.keep_seconds), META_SECONDS)
    fields = [field for message in one.messages for field in message]
    return Script("room_append", keys(one.room), (owner, one.expected, *limits, *fields))


def _replayable(newest_first: list[Any], newest: int, keep_bytes: int, since_ms: float) -> list[Entry]:
    """Give the entries that end at `newest` without a hole and are within the limits."""
    entries: list[Entry] = []
    size = 0
    for identity, fields in newest_first:
        offset = int(identity.partition(b"-")[0])
        uid, key, data, time_ms = fields[1::2]
        size += len(uid) + len(key) + len(data) + 32
        full = keep_bytes and entries and size > keep_bytes
        if offset != newest - len(entries) or full or int(time_ms) < since_ms:
            break
        entries.append([offset, uid.decode(), key.decode(), data, int(time_ms)])
    entries.reverse()
    return entries
