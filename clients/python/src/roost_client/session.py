"""What outlives a connection: rooms, watched users, the place in the inbox, resume.

A session is attached to one connection at a time. On a new one it joins its rooms again
from where the application is, then fetches what is missing. While the client moves
(`goaway`) the older connection may still bring replies and messages; each room listens
to the connection that answered its last join.

No I/O, no clock, no threads: `receive`, `step` and the requests take the time, put
packets into the connection's `outgoing` and events into `take_events()`.

Source: docs/protocol.md, sections 3 and 6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .codec import Packet
from .connection import REPLIES, Connection, Request
from .errors import ConnectionLost, ProtocolError, RequestError, RoostError, pause_of
from .events import Event, Inbox, JoinReply, Kicked, Position, Subscribed, Unsubscribed
from .pushes import event_of
from .retry import RetryPlan
from .stream import RoomStream
from .watches import Watches

TRIES_MOST = 10  # failed history requests in a row before what is missing is given up


class Session:
    """One login of one device, over as many connections as it takes.

    Attributes:
        connection: the one in use; None while there is none.
        resume: what the next `hello` shows; None before the first welcome.
        plan: when to come back after a loss.
        paused: the application is too slow; room messages are left to be fetched later.
        seq, bseq: newest inbox numbers given to the application; what is not above is dropped.
        acked, backed: those the application has dealt with.
        repeats: inbox messages dropped because their number was known.
    """

    def __init__(
        self, hello: dict[str, Any], plan: RetryPlan, random: Callable[[], float], seq: int = 0, bseq: int = 0
    ) -> None:
        self.connection: Connection | None = None
        self.resume: str | None = None
        self.plan = plan
        self.paused = False
        self.streams: dict[str, RoomStream] = {}
        self.seq = self.acked = seq
        self.bseq = self.backed = bseq
        self.repeats = 0
        self._ack_lost: Connection | None = None
        self._hello = hello
        self._random = random
        self._now = 0.0
        self._events: list[Event] = []
        self._busy: dict[str, None] = {}
        self._watches = Watches(random)

    # --- the connection ---------------------------------------------------------------

    def hello(self, token: str | None) -> dict[str, Any]:
        """Give the body of `hello`: with the token, or with `resume` when that is None."""
        proof = {"resume": self.resume} if token is None else {"token": token}
        return {"v": 1, **proof, **self._hello}

    def attach(self, connection: Connection, now: float) -> None:
        """Go on over a connection that has its welcome: join and watch again."""
        welcome = connection.welcome or {}
        self._now = now
        self.connection = connection
        self.resume = welcome.get("resume")
        self.plan = RetryPlan.from_welcome(welcome.get("retry"), self.plan)
        inbox = welcome.get("inbox") or {}
        self.seq = max(self.seq, inbox.get("seq") or 0)
        self.bseq = max(self.bseq, inbox.get("bseq") or 0)
        self._watches.begin(now)
        for stream in self.streams.values():
            stream.begin_round()
            stream.forget_tries()
            self._busy[stream.room] = None
        self._tend_all()

    def detach(self, connection: Connection, reason: str) -> None:
        """The connection is gone: its requests end with ConnectionLost."""
        if connection is self.connection:
            self.connection = None
            for stream in self.streams.values():
                stream.begin_round()
        self._events += connection.fail_all(reason)

    def receive(self, connection: Connection, packets: list[Packet], now: float) -> None:
        """Take packets in their order.

        Raises:
            ProtocolError: a body is not what the protocol says; what came before it counts.
        """
        self._now = now
        try:
            for op, number, body in packets:
                if op == "message":
                    self._message(connection, body)
                elif number and op in REPLIES:
                    self._events += connection.answer(op, number, body)
                else:
                    self._push(connection, op, body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProtocolError(f"{op}: {error!r}") from error
        if self._ack_lost is not None:
            self._ack_again(self._ack_lost)

    def step(self, now: float) -> None:
        """Do what is due by now: heartbeat, repeated joins and history requests."""
        self._now = now
        if self.connection is None:
            return
        self.connection.heartbeat(now)
        self._events += self.connection.expire(now)
        self._tend_all()

    def wake_at(self) -> float:
        """Give the time by which `step` is to be called; infinity when nothing is planned."""
        if self.connection is None:
            return float("inf")
        times = [self._watches.wake_at()]
        for room in self._busy:
            stream = self.streams.get(room)
            if stream is None or stream.asked:
                continue
            if not self.paused or stream.source is not self.connection:
                times.append(stream.retry_at)
        return min(times)

    def resume_reading(self, now: float) -> None:
        """The application has caught up: fetch what was left out."""
        self._now = now
        self.paused = False
        self._tend_all()

    def take_events(self) -> list[Event]:
        """Give what has happened since the last call, in order."""
        events = self._events
        if events:
            self._events = []
        return events

    # --- requests whose replies the session has to know -------------------------------

    def join(
        self,
        room: str,
        since: Position | None,
        presence: bool,
        now: float,
        wake: Callable[[], object],
    ) -> Request:
        """Join a room; the result is a JoinReply. Late or not, an `ok` makes it a member."""
        body: dict[str, Any] = {"room": room, "presence": presence}
        if since is not None:
            body["since"] = {"epoch": since.epoch, "offset": since.offset}
        return self._live().request("join", body, now, partial(self._joined, room, presence), wake)

    def leave(self, room: str, now: float, wake: Callable[[], object]) -> Request:
        """Leave a room; nothing of it is heard from here on, whatever the answer."""
        request = self._live().request("leave", {"room": room}, now, partial(self._gone, room), wake)
        self.forget(room)
        return request

    def forget(self, room: str) -> None:
        """Do not join this room again."""
        self.streams.pop(room, None)

    def watch(self, users: list[str], off: bool, now: float, wake: Callable[[], object]) -> Request:
        """Watch users (or stop); kept up over connections."""
        body = {"users": users, "off": off}
        return self._live().request("watch", body, now, partial(self._watches.changed, users, off), wake)

    def refresh(self, token: str, now: float, wake: Callable[[], object]) -> Request:
        """Show a newer token; its `resume` is taken over."""
        return self._live().request("refresh", {"token": token}, now, self._refreshed, wake)

    def acknowledge(self, seq: int | None, bseq: int | None) -> dict[str, Any]:
        """Remember what the application has dealt with; give the body of the `ack`."""
        self.acked = max(self.acked, seq or 0)
        self.backed = max(self.backed, bseq or 0)
        numbers = (("seq", seq), ("bseq", bseq))
        return {name: number for name, number in numbers if number is not None}

    def _live(self) -> Connection:
        if self.connection is None:
            raise ConnectionLost("not connected")
        return self.connection

    def _joined(self, room: str, presence: bool, connection: Connection, request: Request) -> list[Event]:
        if request.error is not None:
            return []
        reply = request.value
        stream = self.streams.get(room)
        if stream is None:
            stream = RoomStream(room, reply["epoch"], reply["offset"], presence, connection)
            self.streams[room] = stream
        stream.presence, stream.source = presence, connection
        found = stream.joined(reply)
        request.value = JoinReply(
            room,
            reply["epoch"],
            reply["offset"],
            bool(reply.get("recovered", False)),
            found,
            bool(reply.get("more", False)),
            int(reply.get("count", 0)),
        )
        self._busy[room] = None
        self._tend(room)
        return []

    def _gone(self, room: str, connection: Connection, request: Request) -> list[Event]:
        """The server has done the leave, and so any join sent before it and answered meanwhile."""
        stream = self.streams.get(room)
        if request.error is None and stream is not None and stream.source is connection:
            self.forget(room)
        return []

    def _refreshed(self, _connection: Connection, request: Request) -> list[Event]:
        if request.error is None:
            self.resume = request.value.get("resume", self.resume)
        return []

    # --- pushes -----------------------------------------------------------------------

    def _message(self, connection: Connection, body: dict[str, Any]) -> None:
        stream = self.streams.get(body["room"])
        if stream is None or stream.source is not connection:
            return
        stream.push(body, self._events, self.paused)
        if stream.target > stream.offset and not stream.asked:
            self._busy[stream.room] = None
            self._tend(stream.room)

    def _push(self, connection: Connection, op: str, body: dict[str, Any]) -> None:
        own = _OWN.get(op)
        if own is not None:
            own(self, connection, body)
        elif connection is self.connection:
            self._events.append(event_of(op, body))

    def _gap(self, connection: Connection, body: dict[str, Any]) -> None:
        stream = self.streams.get(body["room"])
        if stream is None or stream.source is not connection:
            return
        self._events += stream.gap(body["epoch"], body["offset"], body.get("reason", "lost"))
        self._busy[stream.room] = None
        self._tend(stream.room)

    def _inbox(self, connection: Connection, body: dict[str, Any]) -> None:
        inbox = Inbox.from_body(body)
        if inbox.seq is not None:
            if inbox.seq <= self.seq:
                self._repeated(connection)
                return
            self.seq = inbox.seq
        elif inbox.bseq is not None:
            if inbox.bseq <= self.bseq:
                self._repeated(connection)
                return
            self.bseq = inbox.bseq
        self._events.append(inbox)

    def _repeated(self, connection: Connection) -> None:
        """Drop a repeat; what was acked is acked again, for the server has lost that."""
        self.repeats += 1
        self._ack_lost = self._ack_lost or connection

    def _ack_again(self, connection: Connection) -> None:
        """Ack what the application has dealt with, once for all repeats that came together."""
        self._ack_lost = None
        body = {name: number for name, number in (("seq", self.acked), ("bseq", self.backed)) if number}
        if body:
            connection.post("ack", body, self._now)

    def _subscribed(self, connection: Connection, body: dict[str, Any]) -> None:
        if connection is not self.connection:
            return
        room, epoch, offset = body["room"], body["epoch"], body["offset"]
        stream = self.streams.get(room)
        self._events.append(Subscribed(room, epoch, offset, body.get("count", 0)))
        if stream is None:
            self.streams[room] = RoomStream(room, epoch, offset, False, connection)
            return
        stream.source = connection
        self._events += stream.subscribed(epoch, offset)
        self._busy[room] = None
        self._tend(room)

    def _unsubscribed(self, connection: Connection, body: dict[str, Any]) -> None:
        if connection is self.connection and self.streams.pop(body["room"], None) is not None:
            self._events.append(Unsubscribed(body["room"], body.get("reason", "")))

    def _kick(self, connection: Connection, body: dict[str, Any]) -> None:
        connection.kick = body
        if connection is self.connection and not connection.left:
            self._events.append(Kicked.from_body(body))

    def _goaway(self, connection: Connection, body: dict[str, Any]) -> None:
        if connection is not self.connection:
            return
        connection.leave_at = self._now + self._random() * float(body.get("after", 0))
        connection.leave_for = list(body.get("to") or ())
        self._events.append(event_of("goaway", body))

    # --- rooms that are to be joined again or lack messages ---------------------------

    def _tend_all(self) -> None:
        for room in list(self._busy):
            self._tend(room)
        if self.connection is not None:
            self._watches.step(self.connection, self._now, self.plan)

    def _tend(self, room: str) -> None:
        """Send the request this room needs now, if any."""
        stream = self.streams.get(room)
        if stream is None:
            self._busy.pop(room, None)
            return
        connection = self.connection
        if connection is None or stream.asked or self._now < stream.retry_at:
            return
        if stream.source is not connection:
            self._ask(connection, "join", stream)
        elif not stream.behind:
            self._busy.pop(room, None)
        elif not self.paused:
            self._ask(connection, "history", stream)

    def _ask(self, connection: Connection, op: str, stream: RoomStream) -> None:
        body: dict[str, Any] = {"room": stream.room}
        body["since"] = {"epoch": stream.epoch, "offset": stream.offset}
        if op == "join":
            body["presence"] = stream.presence
        then = partial(self._asked, stream, stream.begin_round())
        stream.asked = True
        connection.request(op, body, self._now, then, internal=True)

    def _asked(
        self, stream: RoomStream, number: int, connection: Connection, request: Request
    ) -> list[Event]:
        if stream.round != number or self.streams.get(stream.room) is not stream:
            return []
        stream.asked = False
        if request.error is not None:
            events = self._refused(stream, request.op, request.error)
        elif request.op == "join":
            stream.source = connection
            stream.forget_tries()
            events = stream.rejoined(request.value)
        else:
            before = stream.position
            events = stream.history(request.value)
            if stream.behind and stream.position == before:
                events += self._refused(stream, request.op, ProtocolError("history without progress"))
            else:
                stream.forget_tries()
        self._busy[stream.room] = None
        self._tend(stream.room)
        return events

    def _refused(self, stream: RoomStream, op: str, error: RoostError) -> list[Event]:
        stream.tries += 1
        if error.retry and (op == "join" or stream.tries < TRIES_MOST):
            delay = self.plan.delay(stream.tries - 1, self._random)
            stream.retry_at = self._now + max(pause_of(error), delay)
            return []
        stream.forget_tries()
        events = stream.give_up()
        if op == "join":
            del self.streams[stream.room]
            reason = error.code if isinstance(error, RequestError) else str(error)
            events.append(Unsubscribed(stream.room, reason))
        return events


_OWN: dict[str, Callable[[Session, Connection, dict[str, Any]], None]] = {
    "gap": Session._gap,
    "inbox": Session._inbox,
    "subscribed": Session._subscribed,
    "unsubscribed": Session._unsubscribed,
    "kick": Session._kick,
    "goaway": Session._goaway,
}
