"""What a tick of a map looks like: `state` packets, and the link item that carries them to a gateway.

    tick    ["tick", line, tick, [[cell, frame]…], [[connection, centre, the one before]…],
             [[cell, frame]…], [[connection, ack]…], frame for all, [[connection, frame]…]]

A *frame* is a `state` packet as it goes onto a TCP connection, made once for all who
get it. The first cells are what changed; the later ones are whole (`full`), for those
whose centre is another one. b"" for all: nothing.

Source: docs/protocol.md, sections 5 and 6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgpack import Packer

from common.wire.codec import encode, pack

_packer: Final = Packer(autoreset=True)
_array: Final = _packer.pack_array_header
_pack_size: Final = struct.Struct(">I").pack
_STATE: Final = b"\x93" + pack("state") + b"\x00\x83"
_MAP, _TICK, _ACK, _EVENTS = (pack(name) for name in ("map", "tick", "ack", "events"))
_KIND: Final = b"\x99" + pack("tick")


class Rows(NamedTuple):
    """What is told of a cell: docs/protocol.md has what a row of each is."""

    enter: Sequence[Any] = ()
    move: Sequence[Any] = ()
    leave: Sequence[int] = ()
    events: Sequence[Any] = ()


NO_ROWS: Final = Rows()


def cell_frame(map_name: str, tick: int, cell: int, rows: Rows, full: bool = False) -> bytes:
    """Give the framed `state` of a cell; a list with nothing in it is left out.

    Raises:
        TypeError, ValueError, OverflowError: a row holds what msgpack cannot carry.
    """
    body: dict[str, Any] = {"map": map_name, "tick": tick, "cell": cell}
    if full:
        body["full"] = True
    enter, move, leave, events = rows
    if enter:
        body["enter"] = enter
    if move:
        body["move"] = move
    if leave:
        body["leave"] = leave
    if events:
        body["events"] = events
    return encode("state", 0, body)


def _head(map_name: str, tick: int) -> bytes:
    """Give what stands before the third field of a `state` with three."""
    return b"".join((_STATE, _MAP, pack(map_name), _TICK, pack(tick)))


def events_frame(map_name: str, tick: int, events: Sequence[bytes]) -> bytes:
    """Give the framed `state` with events, each packed before."""
    body = b"".join((_head(map_name, tick), _EVENTS, _array(len(events)), *events))
    return _pack_size(len(body)) + body


class Acks:
    """Makes the `state` packets that say to one player which input was applied last, in one tick."""

    __slots__ = ("_head",)

    def __init__(self, map_name: str, tick: int) -> None:
        self._head = _head(map_name, tick) + _ACK

    def frame(self, number: int) -> bytes:
        """Give the framed `state` for a player's input of this number."""
        ack = pack(number)
        return b"".join((_pack_size(len(self._head) + len(ack)), self._head, ack))


def pack_cell(cell: int, frame: bytes) -> bytes:
    """Give the row of a cell, ready for the items of any number of gateways."""
    return pack((cell, frame))


def pack_tick(
    line: str,
    tick: int,
    cells: Sequence[bytes],
    centres: Sequence[tuple[int, int, int]],
    fulls: Sequence[bytes],
    acks: Sequence[tuple[int, int]],
    to_all: bytes,
    to_one: Sequence[tuple[int, bytes]],
) -> bytes:
    """Give a gateway's item of one tick; cells come from `pack_cell` and are joined as they are."""
    parts = [_KIND, pack(line), pack(tick), _array(len(cells)), *cells, pack(centres)]
    parts += [_array(len(fulls)), *fulls, pack(acks), pack(to_all), pack(to_one)]
    return b"".join(parts)
