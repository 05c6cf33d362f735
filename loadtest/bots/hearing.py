"""What bots hear. Those who watch the same cells are sent the same bytes, so these are decoded once.

    read ─▶ the `state`s of one tick, as others read them ─▶ one Heard for all of them
       └──▶ anything else: packet by packet

Two generations are remembered of each: what was not heard again while a whole one went
by is forgotten.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgpack

REMEMBERED = 16_384
"""Packets of a generation; a busy map has thousands in a second, each of interest for moments."""
READS_REMEMBERED = 1_024
LARGEST = 65_536
"""Bytes of what is worth remembering."""

_size_at = struct.Struct(">I").unpack_from
_pack_size = struct.Struct(">I").pack


class Heard:
    """One packet, or several `state`s of one tick without an `ack`.

    Attributes:
        tick, ack: of a `state`; ack 0: none.
        moves: of a `state`, id -> (x, y) of all it places.
        parts: the packets, where it stands for several; then `body` has their `tick` alone.
    """

    __slots__ = ("ack", "body", "id", "moves", "op", "parts", "tick")

    def __init__(self, op: str, number: int, body: dict[str, Any]) -> None:
        self.op = op
        self.id = number
        self.body = body
        self.parts: Sequence[Heard] = ()
        self.tick: int = body.get("tick", 0)
        self.ack: int = body.get("ack", 0)
        self.moves: dict[int, tuple[float, float]] = {}
        if op == "state":
            self.moves = {row[0]: (row[1], row[2]) for row in body.get("move", ())}
            self.moves.update((row[0], (row[2], row[3])) for row in body.get("enter", ()))


def together(parts: Sequence[Heard]) -> Heard | None:
    """Give one for all of these; None where there is more in them than one tick of cells."""
    tick = parts[0].tick if parts else 0
    for part in parts:
        if part.op != "state" or part.ack or part.tick != tick:
            return None
    one = Heard("state", 0, {"tick": tick})
    one.parts = parts
    for part in parts:
        one.moves.update(part.moves)
    return one


class Generations:
    """What was decoded, by its bytes; of two generations, each of so many.

    Attributes:
        young: the present one; who finds something in it need not ask further.
    """

    __slots__ = ("_limit", "_old", "young")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.young: dict[bytes, Heard] = {}
        self._old: dict[bytes, Heard] = {}

    def get(self, data: bytes) -> Heard | None:
        """Give what these bytes are, if it is known still."""
        heard = self.young.get(data)
        if heard is None:
            heard = self._old.get(data)
            if heard is not None:
                self.put(data, heard)
        return heard

    def put(self, data: bytes, heard: Heard) -> None:
        """Remember what these bytes are, unless they are very many."""
        if len(data) > LARGEST:
            return
        self.young[data] = heard
        if len(self.young) >= self._limit:
            self._old, self.young = self.young, {}


class Decoder:
    """Cuts what bots read into packets."""

    def __init__(self) -> None:
        self._packets = Generations(REMEMBERED)
        self._reads = Generations(READS_REMEMBERED)
        self._rest: dict[int, bytes] = {}
        self.decoded = 0

    def take(self, bot: int, data: bytes) -> list[Heard]:
        """Give what came for a bot, cut anywhere.

        Raises:
            ValueError: it is no packet.
        """
        rest = self._rest.pop(bot, None)
        if rest is not None:
            data = rest + data
        known = self._reads.get(data)
        if known is not None:
            return [known]
        heard, start, length = [], 0, len(data)
        while length - start >= 4:
            end = start + 4 + _size_at(data, start)[0]
            if end > length:
                break
            frame = data[start:end]
            heard.append(self._packets.young.get(frame) or self._decode(frame))
            start = end
        if start < length:
            self._rest[bot] = data[start:]
            return heard
        one = together(heard)
        if one is None:
            return heard
        self._reads.put(data, one)
        return [one]

    def forget(self, bot: int) -> None:
        """Drop the half packet of a bot that has gone."""
        self._rest.pop(bot, None)

    def _decode(self, frame: bytes) -> Heard:
        heard = self._packets.get(frame)
        if heard is None:
            heard = Heard(*msgpack.unpackb(memoryview(frame)[4:], strict_map_key=False))
            self.decoded += 1
            if heard.op == "state" and not heard.ack:
                self._packets.put(frame, heard)
        return heard


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto the wire."""
    packed: bytes = msgpack.packb((op, number, body))
    return _pack_size(len(packed)) + packed
