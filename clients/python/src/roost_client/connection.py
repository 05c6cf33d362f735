"""One connection without its socket: packets in and out, requests, heartbeat.

    data = socket.recv()          packets = connection.receive_data(data, now)
    connection.request(...)       socket.send(connection.outgoing)

Times are seconds of any clock that never goes back; they are passed in.

Source: docs/protocol.md, sections 1 to 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .codec import Decoder, Packet, encode
from .errors import ConnectionLost, ProtocolError, RoostError, Timeout, from_body
from .events import Event
from .retry import Timings

REPLIES = frozenset(("ok", "error", "pong"))
LARGEST_NUMBER = 2**31 - 1


class Request:
    """A request waiting for its one reply.

    Attributes:
        then: called with the request at the reply's place among the packets; gives events.
        wake: called last, to tell whoever waits. None when nobody does.
    """

    __slots__ = ("done", "error", "internal", "number", "op", "sent_at", "then", "value", "wake")

    def __init__(self, op: str, number: int, sent_at: float, internal: bool) -> None:
        self.op = op
        self.number = number
        self.sent_at = sent_at
        self.internal = internal
        self.done = False
        self.value: Any = None
        self.error: RoostError | None = None
        self.then: Callable[[Connection, Request], list[Event]] | None = None
        self.wake: Callable[[], object] | None = None

    def result(self) -> Any:
        """Give the reply's body, or what `then` made of it.

        Raises:
            RoostError: what it ended with instead.
        """
        if self.error is not None:
            raise self.error
        return self.value


class Connection:
    """The state of one connection, from `hello` to its end.

    Attributes:
        outgoing: bytes to be sent; the sender deletes what the socket took.
        pending: requests without a reply, by number, the oldest first.
        welcome: the body of the server's welcome; None before it.
        kick: the body of its `kick`; None without one.
        leave_at, leave_for: when to move elsewhere, and where to (`goaway`).
        left: another connection is being made in its place; its end means nothing.
    """

    def __init__(self, now: float, timings: Timings) -> None:
        self.outgoing = bytearray()
        self.pending: dict[int, Request] = {}
        self.welcome: dict[str, Any] | None = None
        self.kick: dict[str, Any] | None = None
        self.leave_at: float | None = None
        self.leave_for: list[str] = []
        self.left = False
        self.opened_at = now
        self._timings = timings
        self._decoder = Decoder()
        self._number = 0
        self._last_asked = now
        self._last_answer = now
        self._quiet = float("inf")

    def welcomed(self, welcome: dict[str, Any]) -> None:
        """The server has answered `hello`; from here on it has to hear the client.

        Raises:
            ProtocolError: a field the client goes by is not what the protocol says.
        """
        _check(welcome)
        self.welcome = welcome
        self._quiet = float(welcome.get("ping", 30)) * self._timings.ping_share

    def post(self, op: str, body: dict[str, Any], now: float) -> None:
        """Send what gets no reply; it puts off no `ping`, whose answer tells that the server is there."""
        self.outgoing += encode(op, 0, body)

    def request(
        self,
        op: str,
        body: dict[str, Any],
        now: float,
        then: Callable[[Connection, Request], list[Event]] | None = None,
        wake: Callable[[], object] | None = None,
        internal: bool = False,
    ) -> Request:
        """Send a request.

        Raises:
            PacketTooLarge, TypeError, ValueError: nothing was sent.
        """
        number = self._free_number()
        self.outgoing += encode(op, number, body)
        request = Request(op, number, now, internal)
        request.then = then
        request.wake = wake
        self.pending[number] = request
        self._last_asked = now
        return request

    def receive_data(self, data: bytes, now: float) -> list[Packet]:
        """Take bytes off the wire; give the packets they complete.

        Raises:
            ProtocolError: not what the protocol allows.
        """
        packets = self._decoder.receive_data(data)
        if any(number and op in REPLIES for op, number, _body in packets):
            self._last_answer = now
        return packets

    def answer(self, op: str, number: int, body: dict[str, Any]) -> list[Event]:
        """Give a reply to its request; an answer nobody waits for is dropped."""
        request = self.pending.pop(number, None)
        if request is None:
            return []
        if op == "error":
            return self._finish(request, None, from_body(body))
        return self._finish(request, body, None)

    def heartbeat(self, now: float) -> None:
        """Send `ping` if nothing was asked for long: each side is to hear the other."""
        if now >= self._ping_at():
            self.request("ping", {}, now, internal=True)

    def expire(self, now: float) -> list[Event]:
        """End the client's own requests that got no answer while others did."""
        limit = now - self._timings.answer
        late = [request for request in self.pending.values() if request.internal and request.sent_at <= limit]
        events: list[Event] = []
        for request in late:
            del self.pending[request.number]
            events += self._finish(request, None, Timeout(f"{request.op}: no answer"))
        return events

    def dead(self, now: float) -> bool:
        """Has nothing been answered for too long? Ask only when nothing is left to read."""
        return now >= self._dead_at()

    def wake_at(self) -> float:
        """Give the time by which `heartbeat` or `dead` is to be asked."""
        return min(self._ping_at(), self._dead_at())

    def fail_all(self, reason: str) -> list[Event]:
        """End every request with ConnectionLost; the connection is gone."""
        events: list[Event] = []
        for request in list(self.pending.values()):
            events += self._finish(request, None, ConnectionLost(f"{request.op}: {reason}"))
        self.pending.clear()
        return events

    def _finish(self, request: Request, value: Any, error: RoostError | None) -> list[Event]:
        request.value, request.error = value, error
        try:
            return request.then(self, request) if request.then is not None else []
        except (KeyError, TypeError, ValueError, AttributeError) as malformed:
            request.error = ProtocolError(f"reply to {request.op}: {malformed!r}")
            raise request.error from malformed
        finally:
            request.done = True
            if request.wake is not None:
                request.wake()

    def _ping_at(self) -> float:
        return self._last_asked + self._quiet

    def _dead_at(self) -> float:
        if not self.pending:
            return float("inf")
        if self.welcome is None:
            return self.opened_at + self._timings.welcome
        oldest = next(iter(self.pending.values()))
        return max(oldest.sent_at, self._last_answer) + self._timings.answer

    def _free_number(self) -> int:
        while True:
            self._number = self._number % LARGEST_NUMBER + 1
            if self._number not in self.pending:
                return self._number


def open_connection(connection: Connection, packets: list[Packet]) -> list[Packet] | None:
    """Look for the answer to `hello` among the first packets.

    Returns:
        None: not there yet. Otherwise the packets that came after it, and
        `connection.welcome` or `connection.kick` is set.

    Raises:
        RequestError: the server refused.
        ProtocolError: this is no welcome.
    """
    for place, (op, number, body) in enumerate(packets):
        if op == "kick":
            connection.kick = body
            return packets[place + 1 :]
        if connection.pending.pop(number, None) is None:
            continue
        if op == "error":
            raise from_body(body)
        connection.welcomed(body)
        return packets[place + 1 :]
    return None


def _check(welcome: dict[str, Any]) -> None:
    retry, inbox, resume = (welcome.get(name) for name in ("retry", "inbox", "resume"))
    if not isinstance(retry or {}, dict) or not isinstance(inbox or {}, dict):
        raise ProtocolError("welcome: retry and inbox are maps")
    if not isinstance(resume, str | None):
        raise ProtocolError("welcome: resume is a string")
    numbers = {"ping": welcome.get("ping", 0), **(retry or {}), **(inbox or {})}
    for name in ("ping", "base", "factor", "max", "seq", "bseq"):
        if not isinstance(numbers.get(name, 0), int | float):
            raise ProtocolError(f"welcome: {name} is a number")
