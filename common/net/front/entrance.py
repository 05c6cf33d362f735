"""Clients between the opening of their login and their welcome: nothing is said to them before it.

Source: docs/protocol.md, section 3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.net.front.box import Welcome
from common.net.front.connection import Connection
from common.wire.codec import encode

HELD_BYTES = 65_536
"""What is kept for a client until its welcome; live messages beyond that are lost to it."""


class Coming(NamedTuple):
    """One of them: what it is to hear behind its welcome, and until when the mailbox may be read."""

    held: list[bytes]
    until: float
    welcome: Welcome


class Entrance:
    """Who is coming in, the longest waiting first.

    Attributes:
        goaway: said to everybody right after the welcome while the gateway drains: door ->
            the packet; else {}.
    """

    def __init__(self) -> None:
        self._coming: dict[Connection, Coming] = {}
        self.goaway: dict[str, bytes] = {}

    def __contains__(self, connection: object) -> bool:
        return connection in self._coming

    def enter(self, connection: Connection, until: float, welcome: Welcome) -> None:
        """A login was opened; its welcome follows.

        Args:
            until: front's clock; all wait equally long.
            welcome: called with None when the mailbox was not read by then.
        """
        self._coming[connection] = Coming([], until, welcome)

    def expire(self, now: float) -> None:
        """Welcome those whose mailbox takes too long, as if storage were away."""
        while self._coming:
            connection, coming = next(iter(self._coming.items()))
            if coming.until > now:
                return
            coming.welcome(None)
            self._coming.pop(connection, None)

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        self._coming.pop(connection, None)

    def welcome(self, connection: Connection, number: int, body: dict[str, Any]) -> None:
        """Answer `hello`, and write what was said to the client meanwhile."""
        coming = self._coming.pop(connection, None)
        if number:
            connection.greet(encode("ok", number, body))
        for frame in coming.held if coming is not None else ():
            connection.send(frame)
        if self.goaway:
            connection.send(self.goaway[connection.door])

    def tell(self, connection: Connection, frame: bytes) -> None:
        """Write what the server says of its own accord; the welcome goes first."""
        coming = self._coming.get(connection)
        if coming is None:
            connection.send(frame)
        elif sum(map(len, coming.held)) + len(frame) <= HELD_BYTES:
            coming.held.append(frame)
