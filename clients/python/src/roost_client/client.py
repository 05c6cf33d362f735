"""The client: what an application uses.

    with Client("127.0.0.1:7000", token) as client:
        client.join("plaza/lobby")
        client.publish("plaza/lobby", "hello")
        for event in client.events():
            match event:
                case Message(uid=uid, data=data):
                    print(uid, data)

Every request waits for its answer and gives it, or raises: a RequestError with the
server's code, Timeout, ConnectionLost or ClientClosed. Any thread or greenlet may call.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from .connection import Connection, Request
from .delivery import Callback, Delivery
from .dialing import Dialer, Ticket, Token
from .errors import ConnectionLost, NotJoined, RequestError, Timeout, pause_of
from .events import Epoch, Event, HistoryReply, Inbox, InboxReply, JoinReply, Position, messages
from .retry import RetryPlan, Timings
from .session import Session
from .shell import Shell
from .wire import parse_address

VERSION = "0.1.0"
AddressLike = str | tuple[str, int]
Since = Position | tuple[Epoch, int]


class Client:
    """One device of one user.

    Args:
        address: "host:port", (host, port), or a list of these; attempts take turns.
        token: a token, or a callable that gives one (called in the thread that dials).
        device: name of this device; the newest login of the same device wins.
        kind: phone, web …; some device policies look at it.
        client_info: name and version of the application, for the server's logs.
        on_state: called with the name of each new state, by the reader.
        event_limit: events that may wait to be read. Above it the messages of rooms
            are left on the server and fetched when the application has caught up;
            what the server no longer keeps by then is announced by `Missed`.
        retry: plan to come back by until the server's welcome gives its own.
        timings: for tests.
        ticket: called with "host:port" before a token is shown there; gives the dispatcher's
            ticket for that gateway, None for none.
        seq, bseq: newest inbox numbers this device has dealt with, as the application stored
            them; what is not above them is dropped, and they count as acked.
    """

    def __init__(
        self,
        address: AddressLike | Sequence[AddressLike],
        token: Token,
        device: str = "python",
        kind: str | None = None,
        client_info: dict[str, str] | None = None,
        on_state: Callable[[str], object] | None = None,
        event_limit: int = 10_000,
        retry: RetryPlan | None = None,
        timings: Timings | None = None,
        ticket: Ticket | None = None,
        seq: int = 0,
        bseq: int = 0,
    ) -> None:
        one = isinstance(address, str) or (len(address) == 2 and isinstance(address[1], int))
        addresses = [parse_address(each) for each in ([address] if one else address)]  # type: ignore[arg-type]
        hello: dict[str, Any] = {"device": device}
        hello["client"] = client_info or {"name": "roost-client-python", "version": VERSION}
        if kind is not None:
            hello["kind"] = kind
        self._session = Session(hello, retry or RetryPlan(), random.random, seq, bseq)
        lock = threading.Lock()
        self._delivery = Delivery(event_limit, lock, on_state)
        timings = timings or Timings()
        self._dialer = Dialer(addresses, token, self._session, timings, ticket)
        self._shell = Shell(self._dialer, self._session, timings, self._delivery, lock)

    def __enter__(self) -> Client:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the connection -----------------------------------------------------------------

    @property
    def state(self) -> str:
        """connecting, live, recovering (lost, coming back), offline (no luck so far) or closed."""
        return self._shell.state

    @property
    def welcome(self) -> dict[str, Any]:
        """The last welcome's body: uid, product, gateway, exp, inbox …; {} before the first."""
        return self._shell.welcome

    @property
    def rooms(self) -> list[str]:
        """The rooms the client is in or joins again after each loss."""
        return list(self._session.streams)

    def position(self, room: str) -> Position:
        """Give the place up to which this room was delivered; what `since` takes.

        Raises:
            KeyError: not in that room.
        """
        return self._session.streams[room].position

    @property
    def repeats(self) -> int:
        """Inbox messages that came again and were dropped by their number."""
        return self._session.repeats

    def connect(self, timeout: float = 10.0) -> None:
        """Log in; comes back when the welcome is here. From then on it reconnects by itself.

        Raises:
            OSError: nobody answered (ConnectionRefusedError, Timeout …); may be called again.
            RequestError: the server refused, by code (Unauthorized, Conflict …).
            ClientClosed: kicked while logging in (`banned` …).
        """
        self._shell.connect(timeout)

    def close(self, linger: float = 1.0) -> None:
        """Say bye and end for good; waits up to `linger` seconds for the server to close."""
        self._shell.close(linger)

    def refresh(self, token: str | None = None, timeout: float = 10.0) -> dict[str, Any]:
        """Show a newer token (by default a new one of the callable): `{exp, resume}`."""
        shown = self._dialer.token() if token is None else token
        reply: dict[str, Any] = self._shell.request(
            lambda session, _connection, now, wake: session.refresh(shown, now, wake), timeout, "refresh"
        )
        return reply

    def ping(self, timeout: float = 10.0) -> float:
        """Give the seconds an answer took."""
        begun = time.monotonic()
        self.request("ping", {}, timeout)
        return time.monotonic() - begun

    # --- what comes in --------------------------------------------------------------------

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Give events as they come; ends when the client has ended, or after `timeout` quiet seconds."""
        while (event := self._delivery.get(timeout)) is not None:
            if self._session.paused and self._delivery.half_empty:
                self._shell.caught_up()
            yield event

    def on(self, name: str, callback: Callback) -> None:
        """Call `callback(event)` for events of that name ("message", "gap" …; "*": all).

        Set them before `connect`. With any callback set, `events()` gives nothing and
        events without a callback are dropped. Callbacks run on the reader, one by
        one: keep them short. They may `post`, but not wait for answers.
        """
        self._delivery.on(name, callback)

    # --- requests ---------------------------------------------------------------------------

    def request(self, op: str, body: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Send any op; give the body of its reply.

        Raises:
            RequestError: the server's `error`, by code; `retry` says whether to repeat.
            Timeout, ConnectionLost: no answer; it may have been carried out.
            ClientClosed: the client has ended.
            TypeError, ValueError: the body has no form on the wire.
        """

        def send(
            _session: Session, connection: Connection, now: float, wake: Callable[[], object]
        ) -> Request:
            return connection.request(op, body, now, None, wake)

        reply: dict[str, Any] = self._shell.request(send, timeout, op)
        return reply

    def post(self, op: str, body: dict[str, Any]) -> None:
        """Send any op without wanting an answer (not even an error); callbacks may do this."""
        self._shell.post(op, body)

    def join(
        self, room: str, since: Since | None = None, presence: bool = False, timeout: float = 10.0
    ) -> JoinReply:
        """Join a room; after a loss the client joins it again where it was.

        Args:
            since: go on after this place; without it the room begins with what comes.
            presence: hear `Joined`, `Left` and `Count`.
        """
        place = None if since is None else Position(*since)
        reply: JoinReply = self._shell.request(
            lambda session, _connection, now, wake: session.join(room, place, presence, now, wake),
            timeout,
            "join",
        )
        return reply

    def leave(self, room: str, timeout: float = 10.0) -> None:
        """Leave a room; nothing of it comes any more. Without a connection it is not joined again."""
        try:
            self._shell.request(
                lambda session, _connection, now, wake: session.leave(room, now, wake), timeout, "leave"
            )
        except ConnectionLost:
            self._shell.forget(room)

    def publish(self, room: str, data: Any, key: str | None = None, timeout: float = 10.0) -> Position:
        """Publish into a room; give the place it got. The same `key` again: the same message."""
        body = {"room": room, "data": data}
        if key is not None:
            body["key"] = key
        reply = self.request("publish", body, timeout)
        return Position(reply["epoch"], reply["offset"])

    def publish_surely(self, room: str, data: Any, timeout: float = 30.0, key: str | None = None) -> Position:
        """Publish, repeating with the same key over time-outs, losses and busy servers.

        Raises:
            RoostError: the last failure, once `timeout` seconds are over; at once
                when repeating cannot help.
        """
        deadline = time.monotonic() + timeout
        key = key or uuid.uuid4().hex
        attempt = 0
        while True:
            try:
                self._shell.wait_live(deadline)
                left = max(0.001, deadline - time.monotonic())
                return self.publish(room, data, key, min(left, 10.0))
            except (RequestError, Timeout, ConnectionLost) as error:
                rejoining = isinstance(error, NotJoined) and room in self._session.streams
                if not error.retry and not rejoining:
                    raise
                pause = max(pause_of(error), self._session.plan.delay(attempt, random.random))
                if time.monotonic() + pause >= deadline:
                    raise
            self._dialer.pause(pause)
            attempt += 1

    def history(
        self, room: str, since: Since | None = None, limit: int | None = None, timeout: float = 10.0
    ) -> HistoryReply:
        """Ask for what a room keeps after `since`, or for the newest."""
        body: dict[str, Any] = {"room": room}
        if since is not None:
            body["since"] = {"epoch": since[0], "offset": since[1]}
        if limit is not None:
            body["limit"] = limit
        reply = self.request("history", body, timeout)
        epoch = reply["epoch"]
        found = messages(reply["messages"], room, epoch)
        recovered, more = bool(reply["recovered"]), bool(reply["more"])
        return HistoryReply(room, epoch, reply["offset"], reply["first"], recovered, found, more)

    def presence_room(self, room: str, timeout: float = 10.0) -> dict[str, Any]:
        """Who is in a room: `{count, users, unknown}`."""
        return self.request("presence", {"room": room}, timeout)

    def presence_users(self, users: list[str], timeout: float = 10.0) -> dict[str, Any]:
        """Which of these users are online, on what: `{count, users, unknown}`."""
        return self.request("presence", {"users": users}, timeout)

    def watch(self, users: list[str], off: bool = False, timeout: float = 10.0) -> dict[str, bool | None]:
        """Hear `Presence` of these users from now on; give uid -> online now (None: unknown)."""
        reply = self._shell.request(
            lambda session, _connection, now, wake: session.watch(users, off, now, wake), timeout, "watch"
        )
        return {user["uid"]: user["online"] for user in reply.get("users", ())}

    def profile(self, users: list[str], timeout: float = 10.0) -> list[dict[str, Any]]:
        """Give `{uid, name, profile}` of each of these users."""
        found: list[dict[str, Any]] = self.request("profile", {"users": users}, timeout)["users"]
        return found

    def set_profile(self, fields: dict[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Change fields of one's own profile (`name` is unique; taken: Conflict); give it."""
        found: dict[str, Any] = self.request("profile", {"set": fields}, timeout)["users"][0]
        return found

    def send(
        self,
        to: str | list[str],
        data: Any,
        keep: bool = False,
        ttl: int | None = None,
        key: str | None = None,
        receipt: bool = False,
        timeout: float = 10.0,
    ) -> dict[str, Any]:
        """Send to users: `{mid, online}`. With `keep` it waits for those who are away."""
        body: dict[str, Any] = {"to": to, "data": data}
        optional = {"keep": keep or None, "ttl": ttl, "key": key, "receipt": receipt or None}
        body.update((name, value) for name, value in optional.items() if value is not None)
        return self.request("send", body, timeout)

    def ack(
        self, seq: int | None = None, bseq: int | None = None, timeout: float = 10.0, wait: bool = True
    ) -> None:
        """Say that inbox messages up to these numbers were dealt with by this device.

        After a loss the client says it again by itself, where the server has not heard it.

        Args:
            wait: for the answer. Without it nothing is raised but ClientClosed, and
                callbacks may ack; while there is no connection the next one is told.
        """
        body = self._session.acknowledge(seq, bseq)
        if wait:
            self.request("ack", body, timeout)
            return
        with contextlib.suppress(ConnectionLost, Timeout):
            self.post("ack", body)

    def inbox(
        self, after: int, bafter: int | None = None, limit: int | None = None, timeout: float = 10.0
    ) -> InboxReply:
        """Ask for kept messages after a number; without `bafter` no broadcasts."""
        body = {"after": after}
        optional = (("bafter", bafter), ("limit", limit))
        body.update((name, value) for name, value in optional if value is not None)
        reply = self.request("inbox", body, timeout)
        found = [Inbox.from_body(each) for each in reply["messages"]]
        gap, more = bool(reply["gap"]), bool(reply["more"])
        return InboxReply(found, gap, more, reply["seq"], reply.get("bseq"))

    def call(
        self,
        method: str,
        args: Any = None,
        room: str | None = None,
        map: str | None = None,
        timeout: float = 10.0,
    ) -> Any:
        """Call a method of a room's or a map's logic; give its result."""
        body = {"method": method, "args": args, "room": room, "map": map}
        present = {name: value for name, value in body.items() if value is not None}
        return self.request("call", present, timeout).get("result")

    def enter(self, map: str, data: Any = None, timeout: float = 10.0) -> dict[str, Any]:
        """Enter a spatial map; `State` follows. After a loss, enter again (within 30 s: the same avatar)."""
        body = {"map": map} if data is None else {"map": map, "data": data}
        return self.request("enter", body, timeout)

    def input(self, n: int, data: Any) -> None:
        """Send input number `n`; a later `State` carries `ack`."""
        self.post("input", {"n": n, "data": data})

    def exit(self, timeout: float = 10.0) -> None:
        """Leave the map."""
        self.request("exit", {}, timeout)
