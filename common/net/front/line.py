"""Requests that wait for other processes: of each connection one after the other, beside all else it sends.

A handler of these may block. It does so in a greenlet the connection has only while it has
such requests, so pings and rooms of that client go on, and a process that hangs keeps
nobody's connection silent. Each request ends in time: one that waited too long behind
others is not carried out.

Source: docs/protocol.md, section 3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from gevent import Timeout
from gevent.event import Event

from common.errors import DeadlineExceeded, RequestError
from common.net.front.connection import Connection

if TYPE_CHECKING:
    from common.net.front.front import Front

BLOCKING = frozenset(("ack", "inbox", "presence", "profile", "send", "watch"))
"""Ops whose handlers may wait; `presence` of a room does not."""
WAITING = 16
"""Requests of one connection that may wait here; above it no more is read from it."""


class Waiting(NamedTuple):
    """One request, checked, and until when it is to be answered (front's clock)."""

    handler: Callable[..., Any]
    number: int
    fields: dict[str, Any]
    due: float


class Line:
    """What waits of one connection.

    Attributes:
        requests: the first of them is being carried out.
        space: set when there is one less.
        held_up: seconds spent waiting for the client to read; they do not count.
    """

    __slots__ = ("held_up", "requests", "space")

    def __init__(self) -> None:
        self.requests: deque[Waiting] = deque()
        self.space = Event()
        self.held_up = 0.0


class Lines:
    """The lines of all connections that have one."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._lines: dict[Connection, Line] = {}

    def __contains__(self, connection: object) -> bool:
        return connection in self._lines

    def takes(self, connection: Connection, op: str, fields: dict[str, Any]) -> bool:
        """Tell whether a request must be put in line; `bye` too, behind what is there."""
        return (op in BLOCKING and fields.get("room") is None) or (op == "bye" and connection in self._lines)

    def put(
        self, connection: Connection, handler: Callable[..., Any], number: int, fields: dict[str, Any]
    ) -> None:
        """Have a request carried out behind those before it; does not switch."""
        front, line = self._front, self._lines.get(connection)
        if line is None:
            line = self._lines[connection] = Line()
            front.process.tasks.spawn("requests in line", self._run, connection, line)
        line.requests.append(Waiting(handler, number, fields, front.now + front.settings.request_timeout))

    def wait_for_space(self, connection: Connection) -> None:
        """Wait until another request of a connection may be put in line."""
        line = self._lines.get(connection)
        while line is not None and len(line.requests) >= WAITING:
            line.space.clear()
            line.space.wait()
            line = self._lines.get(connection)

    def _run(self, connection: Connection, line: Line) -> None:
        """Carry out what is in line until there is nothing, or the connection has ended."""
        try:
            while line.requests and not connection.closed:
                began = self._front.now
                connection.let_drain()
                line.held_up += self._front.now - began
                self._carry_out(connection, line.requests[0], line.held_up)
                line.requests.popleft()
                line.space.set()
        finally:
            del self._lines[connection]
            line.space.set()

    def _carry_out(self, connection: Connection, request: Waiting, held_up: float) -> None:
        front = self._front
        left = request.due + held_up - front.now
        timer = Timeout(left)
        try:
            if left <= 0:
                raise DeadlineExceeded("those before it took too long")
            with timer:
                reply = request.handler(front, connection, request.number, request.fields)
        except Timeout as fired:
            if fired is not timer:
                raise
            connection.refuse(request.number, DeadlineExceeded("others did not answer in time"))
        except RequestError as error:
            connection.refuse(request.number, error)
        except Exception:  # noqa: BLE001 - as the connection loop: a defect ends this connection only
            front.log.exception("connection failed", connection=connection.number)
            connection.kick("internal", "a defect of the server")
        else:
            if reply is not None:
                connection.reply(request.number, reply)
