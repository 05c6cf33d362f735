"""The connection table of a gateway and what happens to a packet.

    accepted ─▶ half-open ─hello─▶ logged in ─▶ gone
                   │ too many of one address: its oldest is closed

`Front` is what connections and ops share. Ops are a table (`OPS`): a handler takes
(front, connection, number, fields) and gives the body of `ok`, or None when it has
answered or will answer later. Handlers in line (line.py) and `hello` may block; no others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from gevent import sleep
from gevent.event import AsyncResult

from common.errors import Busy, Kick, RateLimited, RequestError, Unavailable, UnknownOp
from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.front.arrival import Trusted
from common.net.front.clock import Clock
from common.net.front.connection import BURST, PAUSE_LIMIT, Connection, Talk
from common.net.front.entrance import Entrance
from common.net.front.form import TCP, Form, Forms
from common.net.front.halfopen import HalfOpen, HalfOpens
from common.net.front.line import BLOCKING, Lines
from common.net.front.linger import Linger
from common.net.front.mail import Mail
from common.net.front.mirror import Mirror
from common.net.front.poll import Translation
from common.net.front.polls import Polls
from common.net.front.requests import Finisher, Request, Requests, settle, settle_error
from common.net.front.stream import StreamConnection
from common.net.front.views import Views
from common.net.front.workers import Workers
from common.net.idrange import Ids
from common.net.lines.desk import Desk
from common.net.process import Process
from common.rules.limits import RateTable
from common.rules.shared import Shared
from common.rules.tags import SETS_SHARED, Tags
from common.wire.batch import pack_item
from common.wire.codec import Packet, encode
from common.wire.ops import check
from common.wire.tokens import Key

OPS = Handlers("client ops")
LARGE_ANSWERS = frozenset(("history", "join", "presence"))
COUNTERS = {
    "accepted": "connections accepted",
    "logins": "logins finished",
    "logins_refused": "logins refused",
    "packets": "packets received and decoded",
    "pings": "pings answered without a greenlet",
    "deliveries": "room messages handed to members",
    "gaps": "gaps told to members",
    "skipped": "room messages a slow client missed",
    "refused": "requests answered with an error",
    "kicks": "connections ended with a kick",
    "half_open_closed": "half-open connections closed for newer ones of their address",
}


class Front:
    """All connections of this gateway.

    Args:
        mirror: its rooms.
        token_keys: what client tokens may be signed with.
        ids: message ids.
        dbservers: storage.

    Attributes:
        now: coarse monotonic seconds, moved on each 0.1 s.
        views: who is where in which map.
        desk: asks where in a map one goes.
        connections: number -> logged in.
        half_open: those not yet.
        entrance: those whose welcome is still to come.
        web: sockets in the middle of a request, or between two.
        resting: those of them that wait for the next request; bounded for an address like half_open.
        watchers: user -> connections that watch it.
        told: watched user -> (online, devices) its watchers were told last.
        stuck: connections whose outbox is full.
        clock: what is due for which of them.
        tags: gives a connection's tags as the tuple all share.
        trusted: proxies that are believed.
        workers: greenlets for those that talk.
        forms, translation: packets as WebSocket and polls carry them.
        polls: sessions without a socket of their own.
    """

    def __init__(
        self, process: Process, mirror: Mirror, token_keys: Sequence[Key], ids: Ids, dbservers: Dbservers
    ) -> None:
        self.process = process
        self.settings = process.settings.gateway
        self.outbox_bytes = self.settings.outbox_bytes
        self.log = process.log
        self.counters = process.metrics.counters
        self.mirror = mirror
        slice_seconds = self.settings.fanout_slice_ms / 1000
        self.views = Views(process.links, slice_seconds, process.metrics.counters)
        self.desk = Desk(process.callers, process.places, process.state_of)
        self.token_keys = token_keys
        self.ids = ids
        self.dbservers = dbservers
        self.mail = Mail(dbservers, process.links, process.tasks, process.metrics.counters)
        self.requests = Requests(self.settings.request_timeout)
        self.lines = Lines(self)
        self.now = time.monotonic()
        self.connections: dict[int, Connection] = {}
        self.entrance = Entrance()
        self.half_open = HalfOpens(self.settings.half_open_per_address, self.counters)
        self.web: set[HalfOpen] = set()
        self.resting = HalfOpens(self.settings.half_open_per_address, self.counters)
        self.watchers: dict[str, set[Connection]] = {}
        self.told: dict[str, tuple[bool | None, list[list[str]]]] = {}
        self.stuck: set[Connection] = set()
        self.tags: Shared[Tags] = Shared(SETS_SHARED)
        self.trusted = Trusted(self.settings.trusted_proxies)
        self.workers = Workers()
        self.forms = Forms()
        self.translation = Translation()
        self.polls = Polls(self)
        rate = self.settings.publishes_per_second
        self.rates = RateTable(rate, BURST * rate)
        self._number = 0
        self._lingering: set[Linger] = set()
        self._by_requests = 0
        self.clock = Clock(self)

    def start(self) -> None:
        """Start the clock, and the mail."""
        self.mail.start()
        self.clock.start()

    def stop(self) -> None:
        """Cut what is left."""
        for one in [*self.half_open, *self.connections.values(), *self.web]:
            one.close("stop")
        for linger in list(self._lingering):
            linger.cut()
        self.clock.stop()

    # a connection's life

    def accepted(self, sock: Any, address: str, form: Form = TCP) -> StreamConnection:
        """Take a new socket; its `hello` is awaited."""
        self.counters.accepted += 1
        connection = StreamConnection(self, self.next_number(), sock, address, form)
        self.await_hello(connection)
        return connection

    def next_number(self) -> int:
        """Give a number nothing else has in this gateway's life."""
        self._number += 1
        return self._number

    def await_hello(self, connection: Connection) -> None:
        """A client has come; it must log in within `hello_timeout`."""
        self.clock.await_hello(connection)
        self.half_open.add(connection)

    def held(self) -> int:
        """Give how many sockets clients hold here, those on their way out too.

        Who comes by requests counts as one socket whether or not a request is here just now.
        """
        with_socket = len(self.connections) - self._by_requests
        requests = max(self._by_requests, len(self.web))
        return with_socket + requests + len(self.half_open) + len(self._lingering)

    def logged_in(self, connection: Connection) -> None:
        """A login is finished: from here on the connection has a user; its welcome follows."""
        self.half_open.discard(connection)
        connection.address = ""
        self.connections[connection.number] = connection
        self._by_requests += connection.BY_REQUESTS
        self.counters.logins += 1

    def gone(self, connection: Connection, why: str) -> None:
        """A connection has ended: take it out of everything."""
        self.log.debug("connection = closed", connection=connection.number, why=why)
        self.half_open.discard(connection)
        self.entrance.gone(connection)
        self.stuck.discard(connection)
        self.clock.gone(connection)
        for room in connection.rooms:
            self.mirror.leave(room, connection)
        self.views.lost(connection, why == "bye")
        if connection.watching:
            self.unwatch(connection, list(connection.watching))
        self.mail.ended(connection)
        if self.connections.pop(connection.number, None) is not None:
            self._by_requests -= connection.BY_REQUESTS
            self.close_login(connection, why == "bye")

    def refuse_login(self, connection: Connection, number: int, error: RequestError) -> None:
        """Answer a failed `hello` and end the connection."""
        self.counters.logins_refused += 1
        connection.finish(encode("error", number, error.body()) if number else b"", error.code)

    def close_login(self, connection: Connection, bye: bool) -> None:
        """Tell session that a login has ended."""
        item = ["close", connection.number, connection.user, connection.device, connection.epoch, bye]
        self.process.links.send(connection.session, pack_item(item))

    def linger(self, sock: Any, words: bytes) -> None:
        """Let a socket's last words go out."""
        linger = Linger(sock, words, self._lingering.discard)
        self._lingering.add(linger)
        self.clock.lingering(linger)
        linger.step()

    # a packet

    def handle(self, connection: Connection, talk: Talk, packet: Packet) -> None:
        """Have a packet answered, within the limits.

        Raises:
            Kick: the connection must end.
        """
        self.counters.packets += 1
        if not connection.user and packet.op != "hello":
            raise Kick("unauthorized", "hello first")
        wait = talk.packets.take(self.now)
        if wait:
            refusal = RateLimited("too many packets", after=int(wait * 1000) + 1)
            connection.refuse(packet.id, refusal)
            sleep(min(wait, PAUSE_LIMIT))
            return
        if packet.op in LARGE_ANSWERS:
            connection.await_answers()
        if packet.op in BLOCKING:
            self.lines.wait_for_space(connection)
        if not connection.closed:
            self.dispatch(connection, packet)

    def dispatch(self, connection: Connection, packet: Packet) -> None:
        """Carry out one packet; what is wrong with it is answered, a `hello` then ends the connection."""
        try:
            handler = OPS.get(packet.op)
            if handler is None:
                raise UnknownOp(f"no op {packet.op[:64]!r}")
            fields = check(packet.op, packet.body)
            if self._waits_for_join(connection, packet, fields):
                return
            if connection.in_flight >= self.settings.requests_in_flight:
                raise Busy("too many requests without an answer", limit=self.settings.requests_in_flight)
            if self.lines.takes(connection, packet.op, fields):
                self.lines.put(connection, handler, packet.id, fields)
                return
            reply = handler(self, connection, packet.id, fields)
        except RequestError as error:
            if connection.user:
                connection.refuse(packet.id, error)
            else:
                self.refuse_login(connection, packet.id, error)
            return
        if reply is not None:
            connection.reply(packet.id, reply)

    def _waits_for_join(self, connection: Connection, packet: Packet, fields: dict[str, Any]) -> bool:
        """Put a request behind the join of its room, if that is under way."""
        joining = connection.joining
        behind = joining.get(fields.get("room", "")) if joining else None
        if behind is None:
            return False
        if len(behind) >= self.settings.requests_in_flight:
            raise Busy("too many requests behind a join", limit=self.settings.requests_in_flight)
        behind.append(packet)
        return True

    # other processes

    def forward(
        self,
        connection: Connection,
        number: int,
        peer: str,
        finish: Finisher,
        item: Callable[[int], list[Any]],
        fail: Callable[[Request, RequestError], None] | None = None,
        subject: Any = None,
    ) -> None:
        """Send a request by link; `finish` (or `fail`) is called when its answer comes.

        Args:
            item: gives the link item for the request's number.

        Raises:
            Unavailable, Busy: nothing was sent, neither will be called.
        """
        request = Request(connection, number, peer, self.now, finish, fail, subject)
        rid = self.requests.add(request)
        if self.process.links.send(peer, pack_item(item(rid))):
            return
        self.requests.forget(rid)
        if self.process.links.up(peer):
            raise Busy(f"the way to {peer} is full")
        raise Unavailable(f"{peer} is away")

    def ask(self, connection: Connection, peer: str, item: Callable[[int], list[Any]]) -> AsyncResult:
        """Send a request by link; give what its answer will be put into."""
        result = AsyncResult()
        self.forward(connection, 0, peer, settle, item, settle_error, result)
        return result

    def limit_publish(self, connection: Connection) -> None:
        """Count one publish or send of a user.

        Raises:
            RateLimited: too many.
        """
        wait = self.rates.take(connection.user, self.now)
        if wait:
            raise RateLimited("too many messages", after=int(wait * 1000) + 1)

    def unwatch(self, connection: Connection, users: list[str]) -> None:
        """A connection no longer watches some users; session hears of those nobody watches."""
        watching = connection.watching or set()
        unwatched: dict[str, list[str]] = {}
        for user in users:
            if user not in watching:
                continue
            watching.discard(user)
            watchers = self.watchers[user]
            watchers.discard(connection)
            if not watchers:
                del self.watchers[user]
                self.told.pop(user, None)
                unwatched.setdefault(self.process.places.session_of(user), []).append(user)
        for session, gone in unwatched.items():
            self.process.links.send(session, pack_item(["watch", gone, True]))
