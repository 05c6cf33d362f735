"""HTTP as a client speaks it, over a socket of a scene."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, NamedTuple

from tests.common.net.front.scene import Site


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Give the decoded body."""
        return json.loads(self.body)


class Browser:
    """One HTTP connection; requests one after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._connection = http.client.HTTPConnection("gateway")
        self._connection.sock = sock
        self._connection.auto_open = 0

    def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """Send a request, a body that is no bytes as JSON; give the answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, data, named)
        answer = self._connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def browser(site: Site, **more: Any) -> Browser:
    """Give a client of a scene's gateway."""
    return Browser(site.browse(**more))


def read_until(sock: Any, end: bytes) -> bytes:
    """Read until these bytes are there; give all that was read."""
    data = b""
    while end not in data:
        more = sock.recv(65_536)
        assert more, data
        data += more
    return data
