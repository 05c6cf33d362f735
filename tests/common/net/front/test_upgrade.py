from __future__ import annotations

import json
import time
from typing import Any

from gevent import get_hub
from websockets.frames import Opcode

from tests.common.net.front.asking import read_until
from tests.common.net.front.scene import Site, until
from tests.common.wire.test_websocket import said

CALLBACKS = 200
"""So many the loop runs before it sees that time is over."""
OPENING = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    return said(Opcode.TEXT, json.dumps([op, number, body]).encode())


def hold_up() -> None:
    """Keep the loop busy for longer than it lets callbacks run before it looks at sockets again."""
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass


def test_what_came_behind_the_opening_is_taken_before_what_comes_later(site: Site):
    sock = site.browse()
    accepted = site.front.accepted

    def accept_and_hear_more(*args: Any) -> Any:
        connection = accepted(*args)
        for callback in [hold_up] * 2 + [bool] * CALLBACKS:
            get_hub().loop.run_callback(callback)
        sock.sendall(packet("ping", 2, {}))
        return connection

    site.front.accepted = accept_and_hear_more  # type: ignore[assignment]
    sock.sendall(OPENING + packet("hello", 1, site.hello()))
    site.answer("open", [1_000, 5])
    said = read_until(sock, b'"pong"')
    assert said.index(b'"ok",1') < said.index(b'"pong",2')


def test_one_that_is_ended_before_it_began_takes_nothing(site: Site):
    sock = site.browse()
    accepted = site.front.accepted

    def accept_and_end(*args: Any) -> Any:
        connection = accepted(*args)
        connection.kick("idle", "test")
        return connection

    site.front.accepted = accept_and_end  # type: ignore[assignment]
    sock.sendall(OPENING + packet("hello", 1, site.hello()))
    assert b'"kick"' in read_until(sock, b'"kick"')
    until(lambda: not site.front.half_open)
    assert not [item for _, item in site.links.sent if item[0] == "open"]
