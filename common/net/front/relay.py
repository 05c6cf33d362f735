"""Requests of a session that another gateway owns: passed on to it, and its answer back.

Each goes over a connection of its own to the owner's unix socket, so the end of the
answer is the end of that connection.

Source: docs/protocol.md, section 7.
"""

from __future__ import annotations

import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

from common.errors import NotFound, Unavailable
from common.wire.http import Request, Response

if TYPE_CHECKING:
    from common.net.front.web import WebConnection

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 40.0
"""Longest silence of the owner: a poll waits 25 s, packets wait 5 s for those before them."""
READ_BYTES = 65_536
PASSED = ("origin", "host", "last-event-id")
"""Headers the owner looks at."""


def relay(web: WebConnection, request: Request, path: str) -> Response | None:
    """Have a request carried out by the gateway behind `path`; None when its answer was a stream.

    Raises:
        NotFound: it is gone, and the session with it.
        Unavailable: it does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as upstream:
        try:
            upstream.settimeout(CONNECT_SECONDS)
            upstream.connect(path)
            upstream.sendall(_request(request))
        except TimeoutError:
            raise Unavailable("the gateway of this session does not answer") from None
        except OSError:
            raise NotFound("the gateway of this session is gone; open a new one", field="sid") from None
        upstream.settimeout(ANSWER_SECONDS)
        return _answer(web, upstream)


def _request(request: Request) -> bytes:
    headers = {name: request.headers[name] for name in PASSED if name in request.headers}
    headers |= {"connection": "close", "content-length": str(len(request.body))}
    lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + request.body


def _answer(web: WebConnection, upstream: socket.socket) -> Response | None:
    data = b""
    try:
        while True:
            more = upstream.recv(READ_BYTES)
            data += more
            if not more:
                break
            if b"\r\n\r\n" in data and b"text/event-stream" in data.partition(b"\r\n\r\n")[0]:
                _pump(web, upstream, data)
                return None
    except (TimeoutError, OSError):
        raise Unavailable("the gateway of this session was lost; ask again") from None
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 "):
        raise Unavailable("the gateway of this session was lost; ask again")
    return Response(HTTPStatus(int(head[9:12])), body)


def _pump(web: WebConnection, upstream: socket.socket, data: bytes) -> None:
    """Pass a stream on until either end is over."""
    while data and web.stream(data):
        data = upstream.recv(READ_BYTES)
    web.close("over")
