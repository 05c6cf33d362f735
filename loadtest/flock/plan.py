"""Who the clients of a flock are and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PER_ADDRESS = 5_000
"""Clients with one source address. Of its 28,232 ports towards a gateway the kernel takes every second one
first, and tries them one after the other: at 14,000 in use a connect costs more than the login behind it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One flock.

    Args:
        port: of the gateway its clients go to first.
        others: ports they may come back to after a loss, besides.
        count: clients; at most 19,000, since a process may open 20,000 descriptors.
        first: number of the first; user "u<number>", each with a device of its own.
        rooms: client n joins room n mod rooms, so that a room is spread over all flocks; 0: see `rooms_of`.
        rooms_of: clients that share a room, one after the other; 0: nobody joins any.
        token_key: the cluster's key (HS256).
        source: which source addresses: 127.x.y.1 and so on, one for each few thousand clients.
        carrier: "tcp", or one of loadtest/wires.py; those by requests only log in and listen.
        tls: shake hands first; any certificate is taken.
        raw: a bare server (loadtest/bench/bare.py) is at the other end: no login. Reading is the
            same, so that what a sender pays to wake its readers is the same too.
        window: logins under way at once.
        resumes: every so-many-th client keeps its resume token, and is one of those a storm takes; 0: none.
        ping_every: seconds between two pings of a client; 0: none.
        look_every: seconds between two looks at the sockets: delays what is heard, and saves CPU.
        patience: seconds a drill may take.
    """

    port: int
    count: int
    others: Sequence[int] = ()
    host: str = "127.0.0.1"
    first: int = 0
    rooms: int = 0
    rooms_of: int = 0
    room: str = "bench"
    product: str = "bench"
    token_key: str = ""
    source: int = 0
    carrier: str = "tcp"
    tls: bool = False
    raw: bool = False
    window: int = 256
    resumes: int = 0
    ping_every: float = 0.0
    look_every: float = 0.0
    patience: float = 120.0

    @property
    def is_plain(self) -> bool:
        """Tell whether a client is no more than its descriptor."""
        return self.carrier == "tcp" and not self.tls

    @property
    def joins(self) -> bool:
        """Tell whether clients join a room."""
        return bool(self.rooms or self.rooms_of)

    def room_number(self, slot: int) -> int:
        """Give the number of the room of the client at a place in the flock."""
        number = self.first + slot
        return number % self.rooms if self.rooms else number // max(1, self.rooms_of)

    def room_name(self, number: int) -> str:
        """Give a room's name."""
        return f"plaza/{self.room}.{number}"

    def address(self, slot: int) -> str:
        """Give the address the client at a place in the flock comes from."""
        return f"127.{1 + self.source // 256}.{self.source % 256}.{1 + slot // PER_ADDRESS}"
