"""Rooms a client is put into, or taken out of, by the server.

    session ── assign ──▶ asked of the room's world like a client's own join
                            └─▶ `subscribed`, in the room's stream, before its first message
                      ──▶ out of the mirror, `unsubscribed`

The token's rights are not asked: the server wants it so. What cannot be done because
the world is away is tried again for a while; other refusals (the room is full, too
many rooms) are counted and told to the log.

Source: docs/protocol.md, section 5.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from common.errors import Full, RequestError
from common.net.front.connection import Connection
from common.net.front.front import Front
from common.net.front.requests import Request
from common.net.front.rooms import ask_join, keep_out, take_in
from common.net.log import Doubling
from common.wire.codec import encode
from common.wire.names import product_of

AGAIN_SECONDS = 1.0
TRIES = 30
BY_SERVER = "server"
COUNTERS = {
    "assigned": "clients put into a room by the server",
    "assign_failed": "clients the server wanted in a room who could not be let in",
}


class Assignment:
    """One connection on its way into one room."""

    __slots__ = ("cancelled", "connection", "key", "tries")

    def __init__(self, connection: Connection, key: str) -> None:
        self.connection = connection
        self.key = key
        self.tries = 0
        self.cancelled = False


class Subscribing:
    """Joins and leaves by the server.

    Args:
        front: connections and rooms; its counters get those of COUNTERS.
    """

    def __init__(self, front: Front) -> None:
        front.counters.declare(COUNTERS)
        self._front = front
        self._pending: dict[tuple[int, str], Assignment] = {}
        self._again: list[Assignment] = []
        self._failures = Doubling()

    def assign(self, numbers: list[int], key: str, join: bool) -> None:
        """Put connections of the room's product into a room, or take them out."""
        for number in numbers:
            connection = self._front.connections.get(number)
            if connection is None or product_of(connection.user) != product_of(key):
                continue
            if join:
                self._join(connection, key)
            else:
                self._leave(connection, key)

    def step(self) -> None:
        """Each second: try again what a world that was away kept from being done."""
        again, self._again = self._again, []
        for assignment in again:
            if not assignment.cancelled:
                self._ask(assignment)

    def _join(self, connection: Connection, key: str) -> None:
        room = self._front.mirror.rooms.get(key)
        is_member = room is not None and connection in room.members
        if not is_member and (connection.number, key) not in self._pending:
            assignment = self._pending[connection.number, key] = Assignment(connection, key)
            self._ask(assignment)

    def _leave(self, connection: Connection, key: str) -> None:
        pending = self._pending.pop((connection.number, key), None)
        if pending is not None:
            pending.cancelled = True
        room = self._front.mirror.rooms.get(key)
        if room is not None and connection in room.members:
            self._front.mirror.leave(room, connection)
            connection.send(encode("unsubscribed", 0, {"room": room.name, "reason": BY_SERVER}))

    def _ask(self, assignment: Assignment) -> None:
        connection, front = assignment.connection, self._front
        if connection.closed:
            self._end(assignment)
            return
        if connection in front.entrance:
            self._again.append(assignment)
            return
        assignment.tries += 1
        limit = front.settings.rooms_per_connection
        try:
            if len(connection.rooms) + len(connection.joining) >= limit:
                raise Full("too many rooms", limit=limit)
            ask_join(
                front,
                connection,
                0,
                (assignment.key, front.process.places.world_of(assignment.key)),
                None,
                False,
                partial(self._joined, assignment),
                partial(self._failed, assignment),
            )
        except RequestError as error:
            self._refused(assignment, error)

    def _joined(self, assignment: Assignment, request: Request, value: list[Any]) -> None:
        """The world let it in: tell the client, unless the server has thought otherwise."""
        self._end(assignment)
        if not take_in(request, value):
            return
        room, connection = request.subject.room, request.connection
        if assignment.cancelled:
            self._front.mirror.leave(room, connection)
            return
        self._front.counters.assigned += 1
        epoch, offset, _recovered, _messages, _more, count = value
        body = {"room": room.name, "epoch": epoch, "offset": offset, "count": count}
        connection.send(encode("subscribed", 0, body))

    def _failed(self, assignment: Assignment, request: Request, error: RequestError) -> None:
        keep_out(request)
        self._refused(assignment, error)

    def _refused(self, assignment: Assignment, error: RequestError) -> None:
        if error.retry and assignment.tries < TRIES and not assignment.cancelled:
            self._again.append(assignment)
            return
        self._end(assignment)
        self._front.counters.assign_failed += 1
        if self._failures.hit():
            connection = assignment.connection
            self._front.log.warning(
                "assignment failed", connection=connection.number, room=assignment.key, error=str(error)
            )

    def _end(self, assignment: Assignment) -> None:
        place = (assignment.connection.number, assignment.key)
        if self._pending.get(place) is assignment:
            del self._pending[place]
