"""Clients between the opening of their login and their welcome: nothing is said to them before it.

Source: docs/protocol.md, section 3.
"""

from __future__ import annotations

from typing import Any

from common.net.front.connection import Connection

HELD_BYTES = 65_536
"""What is kept for a client until its welcome; live messages beyond that are lost to it."""


class Entrance:
    """Who is coming in, and what each is to hear behind its welcome.

    Attributes:
        goaway: said to everybody right after the welcome while the gateway drains: door ->
            the packet; else {}.
    """

    def __init__(self) -> None:
        self._held: dict[Connection, list[bytes]] = {}
        self.goaway: dict[str, bytes] = {}

    def __contains__(self, connection: object) -> bool:
        return connection in self._held

    def enter(self, connection: Connection) -> None:
        """A login was opened; its welcome follows."""
        self._held[connection] = []

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        self._held.pop(connection, None)

    def welcome(self, connection: Connection, number: int, body: dict[str, Any]) -> None:
        """Answer `hello`, and write what was said to the client meanwhile."""
        held = self._held.pop(connection, [])
        connection.reply(number, body)
        for frame in held:
            connection.send(frame)
        if self.goaway:
            connection.send(self.goaway[connection.door])

    def tell(self, connection: Connection, frame: bytes) -> None:
        """Write what the server says of its own accord; the welcome goes first."""
        held = self._held.get(connection)
        if held is None:
            connection.send(frame)
        elif sum(map(len, held)) + len(frame) <= HELD_BYTES:
            held.append(frame)
