"""Requests of a session that another gateway owns: passed on to it, and its answer back.

Each goes over a connection of its own to the owner's unix socket, so the end of the
answer is the end of that connection.

Source: docs/protocol.md, section 7.
"""

from __future__ import annotations

import re
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from common.errors import NotFound, Unavailable
from common.wire.http import Request, Response

if TYPE_CHECKING:
    from common.net.front.web import WebConnection

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 12.0
"""How long the owner may take, besides what the request waits: packets wait 5 s for those before them."""
STREAM_SECONDS = 40.0
"""Longest silence of a stream; there is a comment in it every 15 s."""
READ_BYTES = 65_536
PASSED = ("origin", "host", "last-event-id")
"""Headers the owner looks at."""
LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


def relay(web: WebConnection, request: Request, path: str, waits: float) -> Response | None:
    """Have a request carried out by the gateway behind `path`; None when its answer was a stream.

    Args:
        waits: seconds it may have to wait for something to give.

    Raises:
        NotFound: it is gone, and the session with it.
        Unavailable: it does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as upstream:
        try:
            upstream.settimeout(CONNECT_SECONDS)
            upstream.connect(path)
            upstream.sendall(_request(request))
        except (TimeoutError, BlockingIOError):
            raise Unavailable("the gateway of this session does not answer") from None
        except OSError:
            raise NotFound("the gateway of this session is gone; open a new one", field="sid") from None
        data, streams = _answer(upstream, time.monotonic() + ANSWER_SECONDS + waits)
        if streams:
            _pump(web, upstream, data)
            return None
    return _read(data)


def _request(request: Request) -> bytes:
    headers = {name: request.headers[name] for name in PASSED if name in request.headers}
    headers |= {"connection": "close", "content-length": str(len(request.body))}
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + request.body


def _answer(upstream: socket.socket, until: float) -> tuple[bytes, bool]:
    """Give the owner's whole answer; or what came of it, and that it is a stream.

    Raises:
        Unavailable: the owner was lost, or takes too long.
    """
    data = b""
    try:
        while True:
            upstream.settimeout(max(0.01, until - time.monotonic()))
            more = upstream.recv(READ_BYTES)
            data += more
            head, end, _ = data.partition(b"\r\n\r\n")
            if not more or (end and b"text/event-stream" in head):
                return data, bool(more)
    except (TimeoutError, OSError):
        raise Unavailable("the gateway of this session was lost; ask again") from None


def _read(data: bytes) -> Response:
    """Give an answer that is over.

    Raises:
        Unavailable: it was cut.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head + b"\r\n")
    if not end or len(body) != (int(length[1]) if length else 0):
        raise Unavailable("the gateway of this session was lost; ask again")
    return Response(HTTPStatus(int(head[9:12])), body)


def _pump(web: WebConnection, upstream: socket.socket, data: bytes) -> None:
    """Pass a stream on until either end is over."""
    upstream.settimeout(STREAM_SECONDS)
    try:
        while data and web.stream(data):
            data = upstream.recv(READ_BYTES)
    finally:
        web.close("over")
