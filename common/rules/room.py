"""One room: its epoch and offsets, what it can replay, and how many are in it where.

A room knows gateways, not clients: for each gateway an absolute count of
connections and of those that listen to presence. Counts are never added up from
differences, so a repeated or late one does no harm.

Source: docs/protocol.md, section 6; docs/architecture.md, the path of a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from common.rules.cache import Cache, Entry, Keep

REPLY_MESSAGES = 300
REPLY_BYTES = 262_144
FIELD_BYTES = 64
"""Bytes of a message in a reply besides its room, uid and data (field names, numbers)."""
MESSAGE_OVERHEAD = 200
"""Bytes a kept message costs besides its data (objects, map entry)."""
MASK = (1 << 64) - 1


class Message(NamedTuple):
    """One message of a room; `data` is msgpack, never opened here; `time` in unix ms."""

    offset: int
    uid: str
    key: str
    data: bytes
    time: int


class Recovery(NamedTuple):
    """What a join or history reply carries (protocol, `recovered` and `more`)."""

    recovered: bool
    messages: list[Message]
    more: bool


def weight(key: str, count: int, listening: int) -> int:
    """Give what one room adds to the digest of all counts (a sum modulo 2^64); 0 for an empty one."""
    if not count:
        return 0
    mixed = (crc32(key.encode()) + 1) * (count * 0x9E3779B97F4A7C15 + listening * 0xC2B2AE3D27D4EB4F + 1)
    return (mixed ^ (mixed >> 29)) & MASK


class Room:
    """The state of one room.

    A durable room may have members before it was loaded; its epoch is 0 until then.

    Args:
        key: "product/map/name".
        keep: history limits, shared by all rooms under one rule.
        epoch: int64 below 2^53, new and larger whenever offsets begin anew; 0: not loaded.
        offset: the newest offset given before.
        now: monotonic seconds.

    Attributes:
        owner: of a durable room: whose lease it was loaded under; "" when memory may not
            be what is stored.
        touched_at: when it was used last.
        watched: whether somebody looks whether it is idle.
    """

    __slots__ = (
        "count",
        "epoch",
        "history",
        "key",
        "listening",
        "members",
        "owner",
        "touched_at",
        "watched",
    )

    def __init__(self, key: str, keep: Keep, epoch: int, offset: int, now: float) -> None:
        self.key = key
        self.epoch = epoch
        self.history: Cache[Message] = Cache(keep, offset)
        self.members: dict[str, tuple[int, int]] = {}
        self.count = 0
        self.listening = 0
        self.owner = ""
        self.touched_at = now
        self.watched = False

    @property
    def offset(self) -> int:
        """The newest offset given."""
        return self.history.newest

    def repeated(self, uid: str, key: str, now: float) -> Message | None:
        """Give the message this sender published under `key`, if it is still kept."""
        if not key:
            return None
        entry = self.history.get((uid, key), now)
        return entry.value if entry is not None else None

    def add(self, message: Message, now: float) -> int:
        """Take the next message, whose offset must be the newest plus one; give the bytes it counts for.

        Args:
            now: when it was said; its age counts from then.
        """
        size = len(message.data) + MESSAGE_OVERHEAD
        name = (message.uid, message.key) if message.key else None
        self.history.put(name, message, size, now, message.offset)
        return size

    def recover(self, epoch: int, offset: int, limit: int, now: float) -> Recovery:
        """Give what follows (epoch, offset), or the newest when that is not all kept.

        Args:
            limit: at most so many messages; a reply also ends at 300 messages or 256 KiB.
        """
        kept = self.history.since(offset, min(limit, REPLY_MESSAGES), now) if epoch == self.epoch else None
        if kept is None:
            return self.newest(limit, now)
        messages = self._fitting(kept)
        last = messages[-1].offset if messages else offset
        return Recovery(True, messages, last < self.offset)

    def newest(self, limit: int, now: float) -> Recovery:
        """Give the newest messages that fit one reply, ascending."""
        self.history.expire(now)
        wanted = min(limit, REPLY_MESSAGES, len(self.history))
        kept = self.history.since(self.offset - wanted, wanted) or []
        return Recovery(False, self._fitting(reversed(kept))[::-1], False)

    def _fitting(self, entries: Iterable[Entry[Message]]) -> list[Message]:
        """Give the first of these that fit one reply."""
        each = len(self.key) + FIELD_BYTES
        messages: list[Message] = []
        size = 0
        for entry in entries:
            size += len(entry.value.data) + len(entry.value.uid) + each
            if messages and size > REPLY_BYTES:
                break
            messages.append(entry.value)
        return messages

    def set_members(self, gateway: str, count: int, listening: int) -> int:
        """Note a gateway's absolute counts; give the change of the gateway's digest."""
        old = self.members.get(gateway, (0, 0))
        if count:
            self.members[gateway] = (count, listening)
        else:
            listening = 0
            self.members.pop(gateway, None)
        self.count += count - old[0]
        self.listening += listening - old[1]
        return weight(self.key, count, listening) - weight(self.key, *old)

    def begin(self, epoch: int, offset: int) -> None:
        """Go on after `offset` of an epoch; what was kept is gone."""
        self.epoch = epoch
        self.history = Cache(self.history.keep, offset)

    def idle(self, now: float, seconds: float) -> bool:
        """Tell whether nobody is in it and nothing happened for so long."""
        return not self.members and now - self.touched_at >= seconds
