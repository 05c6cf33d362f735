from __future__ import annotations

import socket
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest
from gevent.socket import wait_read

from common.net.moderation import Moderation

EVERY = 0.03


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def rounds_of_ready_sockets(pair: tuple[socket.socket, socket.socket], seconds: float) -> int:
    """Count how often a loop looks that always finds something to read."""
    near, far = pair
    far.send(b"x")
    loop = gevent.get_hub().loop
    first: int = loop.iteration
    end, began = first, monotonic()
    while monotonic() < began + seconds:
        wait_read(near.fileno())
        end = loop.iteration
    return end - first


def test_a_moderated_loop_looks_at_its_sockets_no_more_often_than_asked(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    assert rounds_of_ready_sockets(pair, 0.1) > 20
    moderation = Moderation(EVERY)
    moderation.start()
    try:
        assert rounds_of_ready_sockets(pair, 10 * EVERY) <= 12
    finally:
        moderation.stop()
    assert rounds_of_ready_sockets(pair, 0.1) > 20


def test_greenlets_that_are_ready_do_not_wait_for_the_next_look() -> None:
    moderation = Moderation(0.05)
    moderation.start()
    try:
        gevent.sleep(0.06)
        before = gevent.get_hub().loop.iteration
        for _ in range(1_000):
            gevent.sleep(0)
        assert gevent.get_hub().loop.iteration - before < 100
    finally:
        moderation.stop()


def test_timers_are_not_delayed() -> None:
    moderation = Moderation(10.0)
    moderation.start()
    try:
        began = monotonic()
        for _ in range(20):
            gevent.sleep(0.005)
        assert monotonic() - began < 5.0
    finally:
        moderation.stop()


def test_without_a_pause_every_socket_is_looked_at_at_once(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    moderation = Moderation(0.0)
    moderation.start()
    assert rounds_of_ready_sockets(pair, 0.1) > 20
    moderation.stop()
