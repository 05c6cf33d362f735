"""HTTP requests of one client, and answers to them; heads parsed by `httptools`.

    receive_data(bytes) ─▶ requests, whole, in order; a WebSocket opening ends the parsing,
                           and what came behind it is `rest`

Source: RFC 9110 and 9112, as far as the gateway's own pages, polls and events need them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

import httptools

from common.errors import RequestError

HEAD_BYTES: Final = 16_384
"""Largest head of a request: a token in its address, and cookies of the same site, fit."""
HEADERS: Final = 100
CHUNKING: Final = 8
"""Bytes on the wire for each byte of a body: chunks of one byte, the smallest, take six."""
IDLE, HEAD, BODY = "idle", "head", "body"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class HttpRefused(Exception):
    """A request that is answered with `status` and ends the connection."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    """One request.

    Args:
        target: as it came; path and query are cut from it.
        headers: names in lower case; of one that came twice the values, joined by ", ".
        keep_alive: the connection may go on behind the answer.
        upgrade: it wants another protocol; nothing more is to be read as HTTP.
    """

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool
    upgrade: bool


class RequestReader:
    """Requests out of one connection's bytes.

    Args:
        body_bytes: largest body.

    Attributes:
        stage: IDLE before a request's first byte, then HEAD, BODY, and IDLE again.
        expects: its client waits for `100 Continue` before it sends the body; to be reset.
        rest: what came behind a request to upgrade.
    """

    def __init__(self, body_bytes: int) -> None:
        self._parser: Any = httptools.HttpRequestParser(self)
        self._body_bytes = body_bytes
        self._requests: list[Request] = []
        self._refused: HttpRefused | None = None
        self._head_bytes = 0
        self._body_wire_bytes = 0
        self._forget()
        self.stage = IDLE
        self.expects = False
        self.rest = b""

    def receive_data(self, data: bytes) -> list[Request]:
        """Take bytes off the wire; give the requests they complete.

        Raises:
            HttpRefused: no HTTP, or too large; nothing more can be read.
        """
        if self.stage == IDLE and data:
            self.stage = HEAD
        if self.stage == HEAD:
            self._head_bytes += len(data)
        else:
            self._body_wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            raise self._refused or HttpRefused(HTTPStatus.BAD_REQUEST, "this is no HTTP request") from error
        if self.stage == HEAD and self._head_bytes > HEAD_BYTES:
            raise _too_large()
        if self.stage == BODY and self._body_wire_bytes > HEAD_BYTES + CHUNKING * self._size:
            raise self._body_too_large()
        requests, self._requests = self._requests, []
        return requests

    def close(self) -> None:
        """Read no more. The parser and this hold each other: nothing else would free them soon."""
        self._parser = None

    # called by the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._forget()
        self.stage = HEAD

    def on_url(self, url: bytes) -> None:
        """A piece of the target came."""
        self._url += url
        self._take_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came; behind a chunked body it is a trailer, which nobody asked for."""
        self._count += 1
        self._take_head(len(name) + len(value))
        if self.stage == BODY:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The head is whole: what the body will be is known."""
        self.stage, self._body_wire_bytes = BODY, 0
        length = self._headers.get("content-length", "0")
        if self._parser.should_upgrade() and (length != "0" or "transfer-encoding" in self._headers):
            self._refuse(HttpRefused(HTTPStatus.BAD_REQUEST, "a request to upgrade has no body"))
        if not length.isdecimal() or int(length) > self._body_bytes:
            self._refuse(self._body_too_large())
        self.expects = self._headers.get("expect", "").lower() == "100-continue"

    def on_body(self, part: bytes) -> None:
        """A piece of the body came."""
        self._body.append(part)
        self._size += len(part)
        if self._size > self._body_bytes:
            self._refuse(self._body_too_large())

    def on_message_complete(self) -> None:
        """The request is whole."""
        target = self._url.decode("latin-1")
        path, _, query = target.partition("?")
        self._requests.append(
            Request(
                self._parser.get_method().decode("latin-1"),
                target,
                path,
                dict(parse_qsl(query, keep_blank_values=True)),
                self._headers,
                b"".join(self._body),
                self._parser.should_keep_alive(),
                self._parser.should_upgrade(),
            )
        )
        self.stage, self.expects, self._head_bytes = IDLE, False, 0

    def _take_head(self, size: int) -> None:
        """Count what a head consists of: pieces of it may come together with a body."""
        self._head_size += size
        if self._head_size > HEAD_BYTES or self._count > HEADERS:
            self._refuse(_too_large())

    def _forget(self) -> None:
        self._url = b""
        self._head_size = 0
        self._headers: dict[str, str] = {}
        self._count = 0
        self._body: list[bytes] = []
        self._size = 0

    def _refuse(self, refused: HttpRefused) -> None:
        self._refused = refused
        raise refused

    def _body_too_large(self) -> HttpRefused:
        return HttpRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {self._body_bytes} bytes"
        )


def _too_large() -> HttpRefused:
    return HttpRefused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"a head has at most {HEAD_BYTES} bytes, {HEADERS} headers",
    )


class Response(NamedTuple):
    """One answer; `close` ends the connection behind it."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    close: bool = False


STATUS_OF: Final = {
    "unauthorized": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.UNAUTHORIZED,
    "not_found": HTTPStatus.NOT_FOUND,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "timeout": HTTPStatus.SERVICE_UNAVAILABLE,
    "internal": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""error code -> status; others are 400."""


def as_json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Give an answer with a JSON body."""
    return Response(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def refusal(error: RequestError, status: HTTPStatus | None = None) -> Response:
    """Give the answer that an error stands for; its body is that of an `error` packet."""
    return as_json(error.body(), status or STATUS_OF.get(error.code, HTTPStatus.BAD_REQUEST))


def head(status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """Give a head as it goes onto the wire."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += (f"{name}: {value}" for name, value in headers.items())
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def write(response: Response, keep_alive: bool, extra: Mapping[str, str], with_body: bool = True) -> bytes:
    """Give an answer as it goes onto the wire.

    Args:
        extra: further headers.
        with_body: False for the answer to HEAD.
    """
    headers = {
        "Connection": "keep-alive" if keep_alive and not response.close else "close",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    if response.status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(len(response.body))
    if response.body:
        headers["Content-Type"] = response.content_type
    return head(response.status, {**headers, **extra, **response.headers}) + (
        response.body if with_body else b""
    )
