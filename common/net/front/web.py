"""One HTTP connection of a client: its requests one after the other, in a greenlet.

    head coming ─▶ counted as half-open, like a TCP client without its `hello`
    whole       ─▶ answered by the table of routes, which may also take the socket over
    between two ─▶ kept for a while

Every wait has an end: for a head, a body, an answer that nobody reads.

Source: docs/protocol.md, section 7; docs/architecture.md, connections.
"""

from __future__ import annotations

import _socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gevent import Timeout, get_hub, sleep
from gevent.event import Event

from common.errors import BadField, Internal, NotFound, RequestError
from common.handlers import Handlers
from common.net.front.connection import BURST
from common.net.front.origins import cors_headers
from common.net.front.sockets import is_tls, raw
from common.rules.limits import TokenBucket
from common.wire.http import (
    BODY,
    CONTINUE,
    HEAD,
    IDLE,
    HttpRefused,
    Request,
    RequestReader,
    Response,
    as_json,
    refusal,
    write,
)

if TYPE_CHECKING:
    from common.net.front.front import Front

ROUTES = Handlers("http routes")
"""`GET /path` -> handler(web, request) giving a Response, or None when it has taken the socket over."""

READABLE = 1
READ_BYTES = 16_384
BODY_BYTES = 262_144
"""Largest body."""
BODY_SECONDS = 20.0
"""Time a body may take to come."""
WRITE_SECONDS = 15.0
"""Time a client may take to read an answer."""
KEEP_SECONDS = 75.0
"""How long a connection is kept between two requests."""
METHODS = ("GET", "POST")


class WebConnection:
    """A socket that speaks HTTP.

    Args:
        sock: a gevent socket; its TLS handshake is done.
        address: the client's.
        sibling: it comes from another gateway of this cluster, which passes on a client's request.

    Attributes:
        number: unique in this gateway's life.
        gone: the client was seen to leave while its request waited.
    """

    __slots__ = (
        "_peer",
        "_rate",
        "_reader",
        "_served",
        "_waiting",
        "address",
        "closed",
        "front",
        "gone",
        "number",
        "sibling",
        "sock",
    )

    def __init__(self, front: Front, sock: Any, address: str, sibling: bool = False) -> None:
        self.front = front
        self.sock = sock
        self.address = self._peer = address
        self.sibling = sibling
        self.number = front.next_number()
        self.closed = False
        self.gone = False
        self._served = 0
        self._rate = TokenBucket(front.settings.packets_per_second, BURST * front.settings.packets_per_second)
        self._reader = RequestReader(BODY_BYTES)
        self._waiting: list[Request] = []

    def run(self) -> None:
        """Serve until it ends; the socket is closed then, unless somebody took it over."""
        try:
            self._serve()
        except HttpRefused as refused:
            body = {"code": "bad_packet", "message": str(refused), "retry": False}
            self._last_answer(as_json(body, refused.status))
        except (OSError, TimeoutError):
            pass
        except Exception:  # noqa: BLE001 - the connection loop: a defect ends this connection only
            self.front.log.exception("connection failed", connection=self.number)
            self._last_answer(refusal(Internal("a defect of the server")))
        finally:
            self.close("over")
            self._reader.close()

    def _serve(self) -> None:
        while self._serve_next():
            self._rest()

    def _serve_next(self) -> bool:
        """Answer one request; False: no other follows. Nothing of it is kept while the next is awaited."""
        request = self._next()
        if request is None:
            return False
        response = self._answer(request)
        if response is None or self.closed:
            return False
        self._served += 1
        keep = request.keep_alive and not (request.upgrade or response.close)
        keep = keep and self.front.process.state == "ready"
        cors = cors_headers(self.front.settings.origins, request.headers)
        self._write(write(response, keep, cors, request.method != "HEAD"))
        if not keep:
            self.let_go()
        return keep

    def _rest(self) -> None:
        """Let others have their turn, however fast requests come."""
        wait = self._rate.take(self.front.now)
        sleep(wait if wait else 0)

    def _answer(self, request: Request) -> Response | None:
        self.address = self.front.trusted.client_of(self._peer, request.headers.get("x-forwarded-for", ""))
        if request.method == "OPTIONS":
            return Response(HTTPStatus.NO_CONTENT)
        method = "GET" if request.method == "HEAD" else request.method
        handler = ROUTES.get(f"{method} {request.path}")
        try:
            if handler is None:
                return _no_route(request)
            response: Response | None = handler(self, request)
        except RequestError as error:
            return refusal(error)
        return response

    # reading

    def _next(self) -> Request | None:
        """Wait for the next request; None when the client ends the connection, or takes too long."""
        limits = {
            IDLE: KEEP_SECONDS if self._served else self.front.settings.hello_timeout,
            HEAD: self.front.settings.hello_timeout,
            BODY: BODY_SECONDS,
        }
        stage, since = "", 0.0
        try:
            while not self._waiting:
                if self._reader.stage != stage:
                    stage, since = self._reader.stage, time.monotonic()
                    self._stand(half_open=stage == HEAD or not self._served)
                data = self.receive(since + limits[stage])
                if not data:
                    return None
                self._waiting.extend(self._reader.receive_data(data))
                if self._reader.expects:
                    self._reader.expects = False
                    self._write(CONTINUE)
        finally:
            self._stand_up()
        return self._waiting.pop(0)

    def _stand(self, half_open: bool) -> None:
        """Stand among those that wait for a request: half-open, or at rest behind another one."""
        front = self.front
        if self.sibling:
            front.web.add(self)
            return
        here, there = (front.half_open, front.resting) if half_open else (front.resting, front.half_open)
        there.discard(self)
        if half_open:
            front.web.discard(self)
        else:
            front.web.add(self)
        if self not in here:
            here.add(self)

    def _stand_up(self) -> None:
        """A request is here, or never will be."""
        front = self.front
        front.half_open.discard(self)
        front.resting.discard(self)
        if not self.closed:
            front.web.add(self)

    def receive(self, until: float) -> bytes:
        """Read once; b"" at the client's end, or when the time is over."""
        left = until - time.monotonic()
        if left <= 0:
            return b""
        self.sock.settimeout(None)
        with Timeout(left, TimeoutError):
            data: bytes = self.sock.recv(READ_BYTES)
        return data

    def wait(self, event: Event, seconds: float) -> None:
        """Wait until an event is set, the client is seen to leave, or the time is over."""
        watcher = get_hub().loop.io(self.sock.fileno(), READABLE)

        def look() -> None:
            watcher.stop()
            if self.has_left():
                self.gone = True
                event.set()

        watcher.start(look)
        try:
            event.wait(seconds)
        finally:
            watcher.stop()
            watcher.close()

    def has_left(self) -> bool:
        """Tell whether the client has closed its side. With TLS the next write tells."""
        if self.tls:
            return False
        try:
            self.sock.settimeout(0)
            return not self.sock.recv(1, _socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    # writing

    def _write(self, data: bytes) -> None:
        self.sock.settimeout(WRITE_SECONDS)
        self.sock.sendall(data)

    def stream(self, data: bytes) -> bool:
        """Write a piece of an answer without an end; False when the client is gone, or does not read."""
        try:
            self._write(data)
        except (OSError, TimeoutError):
            self.gone = True
        return not self.gone

    # ending

    def _last_answer(self, response: Response) -> None:
        """Answer what could not be read, or carried out, and end."""
        if self.closed:
            return
        try:
            self._write(write(response, False, {}))
        except (OSError, TimeoutError):
            return
        self.let_go()

    def kick(self, code: str, reason: str) -> None:
        """End it: there are too many that are not in yet."""
        self.close(code)

    def let_go(self) -> None:
        """End it so that what was written arrives, though more may be coming."""
        self.front.linger(self.take_socket(), b"")

    def take_socket(self) -> Any:
        """Give the socket away, non-blocking; this connection is over."""
        sock, self.closed = self.sock, True
        self.front.web.discard(self)
        self.front.resting.discard(self)
        return raw(sock)

    def close(self, why: str) -> None:
        """End it at once; a second call changes nothing."""
        if self.closed:
            return
        self.closed = True
        self.front.web.discard(self)
        self.front.half_open.discard(self)
        self.front.resting.discard(self)
        self.sock.close()

    @property
    def tls(self) -> bool:
        """Tell whether its client speaks TLS."""
        return is_tls(self.sock)

    @property
    def rest(self) -> bytes:
        """What came behind a request to upgrade."""
        return self._reader.rest


def _no_route(request: Request) -> Response:
    """Answer a request nobody takes.

    Raises:
        NotFound: nothing is there.
    """
    other = [method for method in METHODS if ROUTES.get(f"{method} {request.path}") is not None]
    if not other:
        raise NotFound(f"nothing is at {request.path[:64]}")
    error = BadField(f"{request.path} wants {other[0]}", field="method")
    return refusal(error, HTTPStatus.METHOD_NOT_ALLOWED)
