"""One device of the crowd and its present connection: packets in, packets out, no clock and no socket.

The crowd hands it what came and sends what it gives.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

_size_at = struct.Struct(">I").unpack_from
_pack_size = struct.Struct(">I").pack

HELLO = 1


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto the wire."""
    packed: bytes = msgpack.packb((op, number, body))
    return _pack_size(len(packed)) + packed


class Line:
    """One connection of a device.

    Attributes:
        pending: requests without an answer: number -> (op, when it was sent).
        welcomed: the welcome has come.
        leaving: why its end is expected; "" while it is not.
        left_at: since when.
        ack_at: when `seq` and `bseq` are to be acked.
        seq, bseq: highest numbers heard that wait to be acked.
    """

    __slots__ = (
        "_next",
        "_rest",
        "ack_at",
        "bseq",
        "device",
        "gateway",
        "leaving",
        "left_at",
        "opened_at",
        "pending",
        "seq",
        "sock",
        "visiting",
        "welcomed",
    )

    def __init__(self, device: Device, gateway: int, sock: Any, now: float) -> None:
        self.device = device
        self.gateway = gateway
        self.sock = sock
        self.opened_at = now
        self.pending: dict[int, tuple[str, float]] = {}
        self.welcomed = False
        self.leaving = ""
        self.left_at = 0.0
        self.ack_at = 0.0
        self.seq = 0
        self.bseq = 0
        self.visiting = ""
        self._rest = b""
        self._next = HELLO

    def request(self, op: str, body: dict[str, Any], now: float) -> bytes:
        """Give a request's packet; its answer is awaited from now on."""
        number, self._next = self._next, self._next + 1
        self.pending[number] = (op, now)
        return packet(op, number, body)

    def take(self, data: bytes) -> list[tuple[str, int, dict[str, Any]]]:
        """Take bytes cut anywhere; give the packets they complete."""
        data = self._rest + data
        packets = []
        start = 0
        while len(data) - start >= 4 and len(data) - start - 4 >= (size := _size_at(data, start)[0]):
            packets.append(msgpack.unpackb(data[start + 4 : start + 4 + size]))
            start += 4 + size
        self._rest = data[start:]
        return packets


class Device:
    """Who comes and goes, and what it keeps while it is away.

    Attributes:
        rooms: those it joins at each login; to the offsets it has heard of them.
        resume: the token of its last welcome; "" when there is none that holds.
        line: its newest connection, None while it is away.
        resident: it never leaves by itself.
    """

    __slots__ = ("line", "name", "number", "resident", "resume", "rooms", "uid")

    def __init__(self, number: int, uid: str, name: str, rooms: list[str], resident: bool) -> None:
        self.number = number
        self.uid = uid
        self.name = name
        self.rooms: dict[str, tuple[int, int]] = dict.fromkeys(rooms, (0, 0))
        self.resume = ""
        self.line: Line | None = None
        self.resident = resident

    def hello(self, token: str) -> dict[str, Any]:
        """Give the body of `hello`; token "": with the resume token."""
        body: dict[str, Any] = {"v": 1, "device": self.name, "kind": "phone" if self.number % 2 else "web"}
        return body | ({"token": token} if token else {"resume": self.resume})

    def join(self, room: str, recover: bool) -> dict[str, Any]:
        """Give the body of a `join`, with the place it has heard of if it is to recover."""
        body: dict[str, Any] = {"room": room, "presence": self.number % 10 == 0}
        epoch, offset = self.rooms[room]
        if recover and epoch:
            body["since"] = {"epoch": epoch, "offset": offset}
        return body

    def heard(self, op: str, body: dict[str, Any]) -> None:
        """Note where a room stands."""
        room = body["room"]
        if room not in self.rooms:
            return
        if op == "message":
            self.rooms[room] = (self.rooms[room][0], body["offset"])
        else:
            self.rooms[room] = (body["epoch"], body["offset"])
