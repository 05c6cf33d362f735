"""What has ended is freed at once: the collector comes late to what has lived long, if ever."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from websockets.frames import Opcode

from tests.common.net.front.asking import browser
from tests.common.net.front.scene import Site, until
from tests.common.wire.test_websocket import said

OURS = ("common.", "websockets.", "httptools.")


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(echo=True, park_after=0.05)
    yield made
    made.close()


def upgrade(site: Site, path: str) -> Any:
    sock = site.browse()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dhcm0tb2YtY2xpZW50cw==\r\n\r\n".encode()
    )
    assert sock.recv(65_536).startswith(b"HTTP/1.1 101 ")
    return sock


def websocket(site: Site) -> None:
    sock = upgrade(site, "/ws")
    sock.sendall(said(Opcode.TEXT, b'["ping", 1, {}]'))
    assert b"kick" in sock.recv(65_536)
    sock.close()


def ask(site: Site, method: str, target: str, body: Any = None) -> int:
    """Ask once on a connection of its own; give the status."""
    client = browser(site)
    status = client.ask(method, target, body).status
    client.socket.close()
    return status


def refused_websocket(site: Site) -> None:
    ask(site, "GET", "/ws")


def echo(site: Site) -> None:
    sock = upgrade(site, "/echo")
    sock.sendall(said(Opcode.TEXT, b"hi"))
    assert b"hi" in sock.recv(65_536)
    sock.sendall(said(Opcode.CLOSE, b""))
    sock.close()


def requests(site: Site) -> None:
    ask(site, "GET", "/healthz")


def session(site: Site) -> None:
    client = browser(site)
    opening = gevent.spawn(client.ask, "POST", "/poll/open", site.hello("ann"))
    site.answer("open", [1_000, 5])
    sid = opening.get(timeout=5).json()["sid"]
    stream = site.browse()
    stream.sendall(f"GET /sse?sid={sid}&cursor=0 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert stream.recv(65_536)
    assert ask(site, "POST", f"/poll/close?sid={sid}") == 204
    stream.close()
    client.socket.close()


def refused_session(site: Site) -> None:
    assert ask(site, "POST", "/poll/open", {"v": 1, "token": "x", "device": "d"}) == 401


LIVES = (websocket, refused_websocket, echo, requests, session, refused_session)


@pytest.mark.parametrize("live", LIVES, ids=lambda live: live.__name__)
def test_a_client_that_has_gone_leaves_nothing_to_the_collector(site: Site, live: Callable[[Site], None]):
    gc.collect()
    gc.disable()
    try:
        live(site)
        front = site.front
        until(lambda: not (front.connections or front.half_open or front.web or front._lingering))
        site.links.sent.clear()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [name for thing in gc.garbage if (name := _name(thing)).startswith(OURS)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


def _name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
