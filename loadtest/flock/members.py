"""The clients of a flock as columns of numbers: some 45 bytes each, and no object.

A client is its *slot*, its place in each column; what only some have (half a packet, an attempt
to come back, a mailbox number) stands in tables that are empty when nothing goes on.
"""

from __future__ import annotations

from array import array

GONE, CONNECTING, ENTERING, HERE = 0, 1, 2, 3
"""States: no socket; no connection yet; `hello` is out; logged in and joined."""
NOBODY = -1
DESCRIPTORS = 20_480


class Members:
    """Columns by slot.

    Attributes:
        descriptor: -1: none.
        port: of the gateway it is or was at.
        epoch, offset: of its room, as last heard.
        broadcast: number of the last one.
        asked: unix µs when the last ping, or this connection, began.
        answered: unix µs of the last pong.
        slot_of: descriptor -> slot.
    """

    __slots__ = (
        "answered",
        "asked",
        "broadcast",
        "descriptor",
        "epoch",
        "offset",
        "port",
        "slot_of",
        "state",
    )

    def __init__(self, count: int) -> None:
        self.descriptor = array("i", [NOBODY]) * count
        self.state = array("B", bytes(count))
        self.port = array("H", bytes(2 * count))
        self.epoch = array("Q", bytes(8 * count))
        self.offset = array("I", bytes(4 * count))
        self.broadcast = array("H", bytes(2 * count))
        self.asked = array("Q", bytes(8 * count))
        self.answered = array("Q", bytes(8 * count))
        self.slot_of = array("i", [NOBODY]) * DESCRIPTORS

    def __len__(self) -> int:
        return len(self.state)

    def connect(self, slot: int, descriptor: int, port: int, now: int) -> None:
        """Note a new socket of a client."""
        self.descriptor[slot] = descriptor
        self.slot_of[descriptor] = slot
        self.port[slot] = port
        self.asked[slot] = now
        self.answered[slot] = 0
        self.state[slot] = CONNECTING

    def part(self, slot: int) -> int:
        """A client has lost its socket; give the descriptor."""
        descriptor = self.descriptor[slot]
        self.descriptor[slot] = NOBODY
        self.slot_of[descriptor] = NOBODY
        self.state[slot] = GONE
        return descriptor

    def alive(self, since: int) -> int:
        """Give how many are here and had a ping answered since that unix µs."""
        states = zip(self.state, self.answered, strict=True)
        return sum(state == HERE and answered >= since for state, answered in states)
