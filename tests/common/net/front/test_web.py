from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.net.front import web as web_module
from tests.common.net.front.asking import browser
from tests.common.net.front.scene import Site, until


@pytest.fixture
def site() -> Any:
    made = Site(hello_timeout=0.2, origins=("https://app.example",))
    yield made
    made.close()


def test_requests_of_one_connection_are_answered_one_after_the_other(site: Site):
    client = browser(site)
    for _ in range(3):
        answer = client.ask("GET", "/healthz")
        assert (answer.status, answer.json()["state"]) == (200, "ready")
    assert len(site.front.web) == 1


def test_a_gateway_that_is_stopping_says_so_to_balancers_and_ends_the_connection(site: Site):
    client = browser(site)
    site.process.state = "draining"
    answer = client.ask("GET", "/healthz")
    assert (answer.status, answer.headers["Connection"]) == (503, "close")
    until(lambda: not site.front.web and not site.front.half_open)


def test_head_is_answered_without_a_body(site: Site):
    answer = browser(site).ask("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


WRONG = {
    "nothing there": ("GET", "/nowhere", 404, "not_found"),
    "the wrong method": ("GET", "/poll/open", 405, "bad_field"),
    "no JSON": ("POST", "/poll/open", 400, "bad_packet"),
    "no sid": ("POST", "/poll", 404, "not_found"),
    "the echo, which is off": ("GET", "/echo", 404, "not_found"),
    "no WebSocket client": ("GET", "/ws", 426, ""),
}


@pytest.mark.parametrize(("method", "path", "status", "code"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said(site: Site, method: str, path: str, status: int, code: str):
    answer = browser(site).ask(method, path, b"{" if method == "POST" else None)
    assert answer.status == status
    assert not code or answer.json()["code"] == code


def test_what_is_no_http_is_answered_and_ended(site: Site):
    sock = site.browse()
    sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    assert sock.recv(65_536).startswith(b"HTTP/1.1 400 ")
    assert sock.recv(1) == b""


def test_a_body_too_large_is_refused_before_it_comes(site: Site):
    sock = site.browse()
    sock.sendall(b"POST /poll/open HTTP/1.1\r\nContent-Length: 300000\r\n\r\n")
    assert sock.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_asks_before_it_sends_its_body_is_told_to(site: Site):
    sock = site.browse()
    sock.sendall(b"POST /poll/open HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert sock.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"[]")
    assert sock.recv(65_536).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HT"], ids=["silent", "a head that never ends"])
def test_a_slow_head_is_half_open_and_ends(site: Site, begun: bytes):
    sock = site.browse()
    sock.sendall(begun)
    until(lambda: len(site.front.half_open) == 1)
    assert sock.recv(1) == b""
    until(lambda: not site.front.half_open and not site.front.web)


def test_a_slow_body_ends(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_module, "BODY_SECONDS", 0.1)
    sock = site.browse()
    sock.sendall(b"POST /poll/open HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    until(lambda: not site.front.half_open)
    assert sock.recv(1) == b""


def test_an_answer_nobody_reads_ends(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_module, "WRITE_SECONDS", 0.1)
    sock = site.browse()
    until(lambda: bool(site.front.half_open))
    sock.sendall(b"GET /roost.js-not-there HTTP/1.1\r\n\r\n" * 3_000)
    until(lambda: not site.front.web and not site.front.half_open)


def test_between_two_requests_it_is_not_half_open(site: Site):
    client = browser(site)
    client.ask("GET", "/healthz")
    gevent.sleep(0)
    assert not site.front.half_open
    assert client.ask("GET", "/healthz").status == 200


def test_of_connections_at_rest_the_oldest_of_a_crowded_address_goes_and_one_in_a_request_stays(
    make_site: Callable[..., Site],
):
    site = make_site(half_open_per_address=3)
    clients = []
    for _ in range(5):
        client = browser(site)
        clients.append(client)
        assert client.ask("GET", "/healthz").status == 200
    until(lambda: len(site.front.web) == 3)
    assert [client.socket.recv(1) for client in clients[:2]] == [b"", b""]
    assert [client.ask("GET", "/healthz").status for client in clients[2:]] == [200] * 3


def test_a_request_for_another_protocol_is_answered_and_ends_the_connection(site: Site):
    answer = browser(site).ask("GET", "/healthz", Connection="Upgrade", Upgrade="h2c")
    assert (answer.status, answer.headers["Connection"]) == (200, "close")


def test_a_defect_is_answered_and_ends_this_connection_only(site: Site, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(web_module.ROUTES._table, "GET /healthz", fail)
    answer = browser(site).ask("GET", "/healthz")
    assert (answer.status, answer.headers["Connection"], answer.json()["code"]) == (503, "close", "internal")
    until(lambda: not site.front.web)


def test_the_oldest_of_an_address_with_too_many_slow_heads_goes():
    site = Site(half_open_per_address=3)
    try:
        socks = [site.browse() for _ in range(4)]
        assert socks[0].recv(1) == b""
        assert len(site.front.half_open) == 3
        other = browser(site, address="127.0.0.2")
        assert other.ask("GET", "/healthz").status == 200
    finally:
        site.close()


def test_a_page_of_a_listed_origin_may_read_answers_and_others_may_not(site: Site):
    client = browser(site)
    allowed = client.ask("GET", "/healthz", Origin="https://app.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    own = client.ask("GET", "/healthz", Origin="http://gateway", Host="gateway")
    assert own.headers["Access-Control-Allow-Origin"] == "http://gateway"
    other = client.ask("GET", "/healthz", Origin="https://evil.example")
    assert "Access-Control-Allow-Origin" not in other.headers
    asked = client.ask("OPTIONS", "/poll", Origin="https://app.example")
    assert (asked.status, asked.headers["Access-Control-Allow-Methods"]) == (204, "GET, POST")


OPENING = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_a_websocket_of_a_foreign_page_is_refused_and_one_without_a_page_passes(site: Site):
    assert browser(site).ask("GET", "/ws", Origin="https://evil.example", **OPENING).status == 401
    sock = site.browse()
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in OPENING.items())
    sock.sendall(f"GET /ws HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode())
    assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")


def test_what_a_trusted_proxy_says_of_the_client_counts():
    site = Site(trusted_proxies=("10.0.0.0/8",))
    try:
        trusted = site.front.trusted
        assert trusted.client_of("10.1.2.3", "192.0.2.9, 10.9.9.9") == "192.0.2.9"
        assert trusted.client_of("10.1.2.3", "") == "10.1.2.3"
        assert trusted.client_of("192.0.2.1", "198.51.100.7") == "192.0.2.1"
        assert trusted.client_of("10.1.2.3", "nonsense") == "nonsense"
    finally:
        site.close()


def test_the_page_may_load_nothing_from_elsewhere(site: Site):
    answer = browser(site).ask("GET", "/healthz")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(answer.body)["gateway"] == "gateway-0"
