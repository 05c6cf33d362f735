"""Long polling and server-sent events: `/poll/open`, `/poll`, `/sse`, `/poll/close`.

    sid      <index of the owner>-<32 hex digits>
    owner    has the session (PollConnection); any other gateway passes requests on to it

Source: docs/protocol.md, section 7.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from common.errors import BadField, BadPacket, Busy, NotFound, PacketTooLarge, Unavailable, rebuild
from common.net.front.origins import cors_headers
from common.net.front.poll import PollConnection
from common.net.front.relay import relay
from common.net.front.web import ROUTES, WebConnection
from common.wire.codec import Packet
from common.wire.http import Request, Response, as_json, head, refusal
from common.wire.jsoncodec import load

if TYPE_CHECKING:
    from common.net.front.front import Front

WAIT_LIMIT = 25.0
"""Longest wait of one poll."""
COMMENT_SECONDS = 15.0
"""A stream without events gets a comment this often: proxies and dead peers are found out."""
KEPT_SECONDS = 10.0
"""How long the last words of a session that has ended can still be fetched."""
SWEEP_SECONDS = 2.0
OWNER = re.compile(r"0|[1-9][0-9]{0,5}")
EVENT_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "Connection": "close",
    "X-Accel-Buffering": "no",
}
COUNTERS = {
    "polls": "poll requests answered",
    "streams": "streams of events begun",
    "poll_sessions": "sessions opened by /poll/open",
    "relayed": "requests passed on to the gateway that owns their session",
}


class Polls:
    """The sessions of this gateway.

    Args:
        front: the connections; its counters get those of COUNTERS.
    """

    def __init__(self, front: Front) -> None:
        front.counters.declare(COUNTERS)
        self._front = front
        self._sessions: dict[str, PollConnection] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, web: WebConnection, hello: dict[str, Any]) -> Response:
        """Log a client in; give its sid and welcome, or what was refused."""
        front = self._front
        if len(front.connections) >= front.settings.max_connections:
            raise Busy("this gateway is full", limit=front.settings.max_connections)
        connection = PollConnection(front, front.next_number(), web.address, "tls" if web.tls else "web")
        front.await_hello(connection)
        front.dispatch(connection, Packet("hello", 1, hello))
        op, body = _first_words(connection)
        if op != "ok":
            connection.forget()
            code, message = body.pop("code"), body.pop("message")
            body.pop("retry", None)
            return refusal(rebuild(code, message, body))
        front.counters.poll_sessions += 1
        self._sessions[connection.secret] = connection
        return as_json({"sid": f"{front.process.index}-{connection.secret}", "welcome": body})

    def readers(self) -> int:
        """Give how many sessions have a request that waits, or a stream."""
        return sum(one.reader is not None for one in self._sessions.values())

    def find(self, secret: str) -> PollConnection:
        """Give a session.

        Raises:
            NotFound: there is none.
        """
        connection = self._sessions.get(secret)
        if connection is None:
            raise NotFound("no such session; open a new one", field="sid")
        return connection

    def end(self, connection: PollConnection) -> None:
        """End a session as its client wants it: nothing is left to fetch."""
        connection.close("closed")
        self._forget(connection)

    def _forget(self, connection: PollConnection) -> None:
        """Let go of what was kept for its client; timers may hold the rest for a while."""
        if self._sessions.pop(connection.secret, None) is not None:
            connection.forget()

    def step(self) -> None:
        """End sessions nobody asks about; forget those that have ended. To be called every few seconds."""
        now = self._front.now
        for connection in list(self._sessions.values()):
            if connection.closed and now - connection.ended_at > KEPT_SECONDS:
                self._forget(connection)
            elif not connection.closed and connection.is_silent():
                connection.kick("idle", "no request for too long")


def _first_words(connection: PollConnection) -> tuple[str, dict[str, Any]]:
    """Give op, `ok` or `error`, and body of the answer to `hello`; a kick before it is an error too."""
    if connection.outbox.newest:
        op, _, body = load(connection.outbox.take_first())
        if op in ("ok", "error"):
            return op, body
        return "error", Unavailable(body["reason"]).body()
    return "error", Unavailable("the login was cut off").body()


Route = Callable[[WebConnection, Request, PollConnection], Response | None]


def owned(route: Route) -> Callable[[WebConnection, Request], Response | None]:
    """Make a route that needs a session: carried out by its owner, whichever gateway was asked.

    HEAD is answered without one: it must take no reader's place.
    """

    def find_owner(web: WebConnection, request: Request) -> Response | None:
        front = web.front
        if request.method == "HEAD":
            return Response(HTTPStatus.OK)
        owner, _, secret = request.query.get("sid", "").partition("-")
        if owner == str(front.process.index):
            return route(web, request, front.polls.find(secret))
        others = front.process.places.gateways
        index = int(owner) if OWNER.fullmatch(owner) else len(others)
        if web.sibling or index >= len(others):
            raise NotFound("no such session; open a new one", field="sid")
        front.counters.relayed += 1
        waits = _number(request.query, "wait", 0, int(WAIT_LIMIT))
        return relay(web, request, front.process.places.web_socket(index), waits)

    return find_owner


@ROUTES.on("POST /poll/open")
def open_session(web: WebConnection, request: Request) -> Response:
    """Begin a session with a `hello`.

    A client that has given up on this request may be in by another gateway already; see `hello`
    in login.py.
    """
    if web.has_left():
        raise Unavailable("the client has left")
    hello = load(request.body)
    if type(hello) is not dict:
        raise BadPacket("the body is the map of a hello")
    return web.front.polls.open(web, hello)


@ROUTES.on("POST /poll/close")
@owned
def close_session(web: WebConnection, request: Request, connection: PollConnection) -> Response:
    """End a session; its resume token lives on."""
    web.front.polls.end(connection)
    return Response(HTTPStatus.NO_CONTENT)


@ROUTES.on("POST /poll")
@owned
def poll(web: WebConnection, request: Request, connection: PollConnection) -> Response:
    """Take packets, give packets; without any to take, wait for some to give."""
    query = request.query
    cursor, wait = _number(query, "cursor", 0), _number(query, "wait", 0, int(WAIT_LIMIT))
    packets = _packets(request.body, web.front.settings.packet_bytes)
    web.front.counters.polls += 1
    connection.heard()
    connection.outbox.confirm(cursor)
    if packets:
        connection.accept(_number(query, "n", 0, low=1), packets)
    if connection.streaming:
        return _page(cursor, [])
    if wait and not packets:
        _wait(web, connection, cursor, wait)
        connection.heard()
    fresh = connection.outbox.after(cursor)
    if connection.closed and not fresh:
        raise _ended()
    return _page(max(cursor, connection.outbox.confirmed), fresh)


def _wait(web: WebConnection, connection: PollConnection, cursor: int, seconds: float) -> None:
    """Wait for packets behind `cursor`; a newer request that waits ends it."""
    until = time.monotonic() + seconds
    me = connection.reader = object()
    connection.changed.set()
    while not (connection.outbox.after(cursor) or connection.closed or web.gone):
        left = until - time.monotonic()
        if left <= 0 or connection.reader is not me:
            break
        connection.changed.clear()
        web.wait(connection.changed, left)
    if connection.reader is me:
        connection.reader = None


def _ended() -> NotFound:
    return NotFound("the session has ended; open a new one", field="sid")


def _page(cursor: int, packets: list[bytes]) -> Response:
    body = b'{"cursor":%d,"packets":[%s]}' % (cursor + len(packets), b",".join(packets))
    return Response(HTTPStatus.OK, body)


@ROUTES.on("GET /sse")
@owned
def stream(web: WebConnection, request: Request, connection: PollConnection) -> Response | None:
    """Give packets as events, for as long as the client listens."""
    last = request.headers.get("last-event-id", "")
    cursor = _number({"cursor": last} if last else request.query, "cursor", 0)
    connection.outbox.confirm(cursor)
    if connection.closed and not connection.outbox.after(cursor):
        raise _ended()
    web.front.counters.streams += 1
    connection.reader, connection.streaming = web, True
    connection.changed.set()
    headers = {**EVENT_HEADERS, **cors_headers(web.front.settings.origins, request.headers)}
    try:
        if web.stream(head(HTTPStatus.OK, headers)):
            _stream(web, connection, cursor)
    finally:
        if connection.reader is web:
            connection.reader, connection.streaming = None, False
            connection.heard()
        web.close("over")
    return None


def _stream(web: WebConnection, connection: PollConnection, cursor: int) -> None:
    while connection.reader is web:
        connection.changed.clear()
        cursor = max(cursor, connection.outbox.confirmed)
        packets = connection.outbox.after(cursor)
        if not packets:
            if connection.closed:
                return
            web.wait(connection.changed, COMMENT_SECONDS)
            if not web.gone and not connection.changed.is_set():
                web.stream(b":\n\n")
        events = [b"id: %d\ndata: %s\n\n" % (cursor + place, one) for place, one in enumerate(packets, 1)]
        if web.gone or (events and not web.stream(b"".join(events))):
            return
        cursor += len(packets)


def _number(query: Mapping[str, str], name: str, default: int, high: int = 2**53, low: int = 0) -> int:
    """Give a number of the query.

    Raises:
        BadField: it is none, or out of bounds.
    """
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and low <= int(text) <= high):
        raise BadField(f"{name} must be an integer from {low} to {high}", field=name)
    return int(text)


def _packets(body: bytes, limit: int) -> list[tuple[int, Any]]:
    """Give the packets of a body, each with about its bytes.

    Raises:
        BadPacket: no JSON array, or one nested too deep.
        PacketTooLarge: one of them is.
    """
    if not body:
        return []
    values = load(body)
    if type(values) is not list:
        raise BadPacket("the body is an array of packets")
    if len(body) <= limit:
        return [(len(body) // len(values), value) for value in values]
    try:
        sized = [
            (len(json.dumps(value, ensure_ascii=False).encode(errors="replace")), value) for value in values
        ]
    except RecursionError as error:
        raise BadPacket("packet is nested too deep") from error
    for size, _ in sized:
        if size > limit:
            raise PacketTooLarge("packet too large", size=size, limit=limit)
    return sized
