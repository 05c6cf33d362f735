from __future__ import annotations

from http import HTTPStatus

import pytest

from common.errors import BadField, Unavailable
from common.wire.http import (
    BODY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    IDLE,
    HttpRefused,
    Request,
    RequestReader,
    Response,
    refusal,
    write,
)

LIMIT = 100
GET = b"GET /sse?sid=0-a&cursor=%20 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
POST = b"POST /poll HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /poll HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
WAYS = {"whole": 10_000, "byte by byte": 1, "in sevens": 7}


def feed(data: bytes, step: int = 10_000) -> tuple[RequestReader, list[Request]]:
    reader = RequestReader(LIMIT)
    requests: list[Request] = []
    for start in range(0, len(data), step):
        requests += reader.receive_data(data[start : start + step])
    return reader, requests


@pytest.mark.parametrize("step", WAYS.values(), ids=WAYS.keys())
def test_requests_come_out_whole_and_in_order_however_they_are_cut(step: int):
    reader, requests = feed(GET + POST + CHUNKED + b"GET /half", step)
    get, post, chunked = requests
    assert (get.method, get.path, get.query) == ("GET", "/sse", {"sid": "0-a", "cursor": " "})
    assert get.headers == {"host": "a", "x-a": "1, 2"}
    assert (post.method, post.path, post.body, post.keep_alive) == ("POST", "/poll", b"hello", True)
    assert chunked.body == b"hello"
    assert reader.stage == HEAD


def test_an_old_client_wants_the_connection_to_end():
    assert not feed(b"GET / HTTP/1.0\r\n\r\n")[1][0].keep_alive


def test_a_reader_knows_how_far_a_request_is():
    reader = RequestReader(LIMIT)
    stages = [reader.stage]
    for piece in (b"P", POST[1:-5], b"hel", b"lo"):
        reader.receive_data(piece)
        stages.append(reader.stage)
    assert stages == [IDLE, HEAD, BODY, BODY, IDLE]


def test_what_comes_behind_an_upgrade_is_kept():
    opening = b"GET /ws HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    reader, requests = feed(opening + b"\x81\x00GET")
    assert requests[0].upgrade
    assert reader.rest == b"\x81\x00GET"


def test_a_client_that_waits_for_a_word_before_its_body_is_noticed():
    reader, requests = feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.expects
    assert requests == []


BROKEN = {
    "TLS": (b"\x16\x03\x01\x02\x00", HTTPStatus.BAD_REQUEST),
    "words": (b"hello\r\n\r\n", HTTPStatus.BAD_REQUEST),
    "a bare line feed in a head": (b"GET / HTTP/1.1\nHost : a\r\n\r\n", HTTPStatus.BAD_REQUEST),
    "two lengths": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HTTPStatus.BAD_REQUEST,
    ),
    "a length and chunks": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        HTTPStatus.BAD_REQUEST,
    ),
    "a body announced too large": (
        b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    "chunks too large together": (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"20\r\n"
        + b"x" * 32
        + b"\r\n" * 1
        + (b"20\r\n" + b"x" * 32 + b"\r\n") * 3,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    "an endless target": (b"GET /" + b"a" * 20_000, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    "an endless header": (
        b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ),
    "too many headers": (
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (HEADERS + 2),
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ),
    "a head too large that came whole": (
        b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ),
    "an endless trailer": (CHUNKED[:-2] + b"A: " + b"a" * 30_000, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    "an endless chunk extension": (
        CHUNKED[:-5] + b"1;" + b"a" * 30_000,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ),
    "too many trailers": (
        CHUNKED[:-2] + b"a: b\r\n" * (HEADERS + 2),
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ),
    "a body behind an upgrade": (
        b"POST / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n[]",
        HTTPStatus.BAD_REQUEST,
    ),
}


def test_trailers_are_no_headers():
    (request,) = feed(CHUNKED[:-2] + b"Origin: a\r\n\r\n")[1]
    assert (request.body, "origin" in request.headers) == (b"hello", False)


@pytest.mark.parametrize("step", [10_000, 1])
def test_a_body_in_the_smallest_chunks_is_taken(step: int):
    head, _, _ = CHUNKED.partition(b"\r\n\r\n")
    _, requests = feed(head + b"\r\n\r\n" + b"1\r\nx\r\n" * LIMIT + b"0\r\n\r\n", step)
    assert requests[0].body == b"x" * LIMIT


@pytest.mark.parametrize("step", [10_000, 50])
@pytest.mark.parametrize(("data", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_request_or_too_large_is_refused(data: bytes, status: HTTPStatus, step: int):
    with pytest.raises(HttpRefused) as caught:
        feed(data, step)
    assert caught.value.status == status


def test_an_answer_says_its_length_and_whether_the_connection_goes_on():
    response = Response(HTTPStatus.OK, "ü".encode(), "text/plain", {"X-A": "1"})
    head, _, body = write(response, True, {"Vary": "Origin"}).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {b"Content-Length: 2", b"Connection: keep-alive", b"Vary: Origin", b"X-A: 1"} <= set(lines)
    assert body == "ü".encode()
    assert b"Connection: close" in write(response._replace(close=True), True, {})
    assert write(response, True, {}, with_body=False).endswith(b"\r\n\r\n")


def test_an_answer_without_content_says_no_length():
    assert b"Content-Length" not in write(Response(HTTPStatus.NO_CONTENT), True, {})


def test_an_error_becomes_its_status_and_its_body():
    response = refusal(BadField("no", field="n"))
    assert response.status == HTTPStatus.BAD_REQUEST
    assert response.body == b'{"field":"n","code":"bad_field","message":"no","retry":false}'
    assert refusal(Unavailable("away")).status == HTTPStatus.SERVICE_UNAVAILABLE
