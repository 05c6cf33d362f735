"""What bots hear. Those who watch the same cells are sent the same bytes, so each packet is decoded once.

Two generations are remembered, each of `REMEMBERED` packets: what was not heard again
while a whole one went by is forgotten.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

REMEMBERED = 8_192
"""Packets; a busy map has some thousand different ones in a second, each of interest for moments."""
LARGEST = 65_536
"""Bytes of a packet worth remembering."""

_size_at = struct.Struct(">I").unpack_from
_pack_size = struct.Struct(">I").pack


class Heard:
    """One packet.

    Attributes:
        moves: of a `state`, id -> (x, y) of all it places.
    """

    __slots__ = ("body", "id", "moves", "op")

    def __init__(self, op: str, number: int, body: dict[str, Any]) -> None:
        self.op = op
        self.id = number
        self.body = body
        self.moves: dict[int, tuple[float, float]] = {}
        if op == "state":
            self.moves = {row[0]: (row[1], row[2]) for row in body.get("move", ())}
            self.moves.update((row[0], (row[2], row[3])) for row in body.get("enter", ()))


class Decoder:
    """Cuts what bots read into packets."""

    def __init__(self) -> None:
        self._young: dict[bytes, Heard] = {}
        self._old: dict[bytes, Heard] = {}
        self._rest: dict[int, bytes] = {}
        self.decoded = 0

    def take(self, bot: int, data: bytes) -> list[Heard]:
        """Give the packets that came for a bot, cut anywhere.

        Raises:
            ValueError: it is no packet.
        """
        rest = self._rest.pop(bot, None)
        if rest is not None:
            data = rest + data
        heard, start, length = [], 0, len(data)
        while length - start >= 4:
            end = start + 4 + _size_at(data, start)[0]
            if end > length:
                break
            heard.append(self._decode(data[start:end]))
            start = end
        if start < length:
            self._rest[bot] = data[start:]
        return heard

    def forget(self, bot: int) -> None:
        """Drop the half packet of a bot that has gone."""
        self._rest.pop(bot, None)

    def _decode(self, frame: bytes) -> Heard:
        heard = self._young.get(frame)
        if heard is not None:
            return heard
        heard = self._old.get(frame)
        if heard is None:
            heard = Heard(*msgpack.unpackb(memoryview(frame)[4:], strict_map_key=False))
            self.decoded += 1
        if heard.op == "state" and len(frame) <= LARGEST:
            self._young[frame] = heard
            if len(self._young) >= REMEMBERED:
                self._old, self._young = self._young, {}
        return heard


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto the wire."""
    packed: bytes = msgpack.packb((op, number, body))
    return _pack_size(len(packed)) + packed
