"""What a flock says, and what it makes of what it hears.

The gateway writes the same bytes to all members of a room and to all receivers of a broadcast,
so bytes that were decoded once are known by themselves: a delivery costs a look-up in
a table, and is still decoded in full the first time.

    stamp    ["roost", kind, number, unix µs when it was sent, padding…], the `data` of
             our own messages, in rooms, to users and to all
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import msgpack

HELLO, JOIN, PUBLISH, PING, ACK = 1, 2, 3, 4, 5
"""Request ids: one of each is under way per client."""
STAMP = "roost"
IN_ROOM, TO_USER, TO_ALL = 0, 1, 2
"""Kinds of a stamp."""

_pack_size = struct.Struct(">I").pack
_size_at = struct.Struct(">I").unpack_from


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto the wire."""
    packed: bytes = msgpack.packb((op, number, body))
    return _pack_size(len(packed)) + packed


PING_PACKET = packet("ping", PING, {})


def stamp(kind: int, number: int, sent: int, size: int = 0) -> list[Any]:
    """Give the data of a message.

    Args:
        sent: unix µs.
        size: of padding.
    """
    return [STAMP, kind, number, sent, "x" * size]


class Heard(NamedTuple):
    """One packet as heard.

    Args:
        room: number at the end of a room message's room; -1: no room message.
        offset: of a room message.
        kind, number, sent: of the stamp; kind -1: none.
    """

    op: str
    id: int
    body: dict[str, Any]
    room: int = -1
    offset: int = 0
    kind: int = -1
    number: int = 0
    sent: int = 0


SHARED = frozenset(("message", "inbox", "pong", "count"))
"""Ops whose bytes come to many clients."""
KNOWN_BYTES = 131_072
"""Of packets, which come again within moments or never; what was decoded takes ten times as much."""
KNOWN_LARGEST = 65_536


class Decoder:
    """Cuts and decodes what clients read; remembers what many of them read."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Heard, ...]] = {}
        self._known_bytes = 0
        self._rest: dict[int, bytes] = {}

    def take(self, client: int, data: bytes) -> tuple[Heard, ...]:
        """Give the packets that came for a client, cut anywhere.

        Raises:
            ValueError: it is no packet.
        """
        known = self._known.get(data)
        if known is not None and client not in self._rest:
            return known
        rest = self._rest.pop(client, None)
        if rest is not None:
            data = rest + data
        heard, shared, start, length = [], rest is None, 0, len(data)
        while length - start >= 4:
            end = start + 4 + _size_at(data, start)[0]
            if end > length:
                break
            one = self._decode(data[start:end])
            shared = shared and one.op in SHARED
            heard.append(one)
            start = end
        if start < length:
            self._rest[client] = data[start:]
        elif shared and len(heard) > 1:
            self._remember(data, tuple(heard))
        return tuple(heard)

    def forget(self, client: int) -> None:
        """Drop the half packet of a client that has gone."""
        self._rest.pop(client, None)

    def _decode(self, frame: bytes) -> Heard:
        known = self._known.get(frame)
        if known is not None:
            return known[0]
        heard = _heard(*msgpack.unpackb(memoryview(frame)[4:]))
        if heard.op in SHARED:
            self._remember(frame, (heard,))
        return heard

    def _remember(self, data: bytes, heard: tuple[Heard, ...]) -> None:
        if len(data) > KNOWN_LARGEST:
            return
        self._known_bytes += len(data)
        if self._known_bytes > KNOWN_BYTES:
            self._known = {}
            self._known_bytes = len(data)
        self._known[data] = heard


def _heard(op: str, number: int, body: dict[str, Any]) -> Heard:
    data = body.get("data")
    kind, serial, sent = -1, 0, 0
    if type(data) is list and len(data) == 5 and data[0] == STAMP:
        kind, serial, sent = data[1:4]
    if op == "message":
        return Heard(op, number, body, _number_of(body["room"]), body["offset"], kind, serial, sent)
    return Heard(op, number, body, kind=kind, number=serial, sent=sent)


def _number_of(room: str) -> int:
    """Give the number at the end of a room's name."""
    text = room.rpartition(".")[2]
    return int(text) if text.isdecimal() else -1
