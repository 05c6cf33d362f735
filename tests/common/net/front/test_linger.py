from __future__ import annotations

import _socket
import socket
import time
from collections.abc import Iterator

import gevent
import pytest

from common.net.front.linger import Linger
from tests.common.net.front.scene import settle, until

LARGE = b"x" * 4_000_000


class Pair:
    """A socket on its way out and the client at the other end."""

    def __init__(self) -> None:
        ours, self.client = socket.socketpair()
        self.sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, ours.detach())
        self.sock.setblocking(False)
        self.client.settimeout(5)
        self.ended: list[Linger] = []

    def linger(self, words: bytes) -> Linger:
        return Linger(self.sock, words, self.ended.append)

    def read_all(self) -> bytes:
        """Give all the client gets until the end."""
        data = b""
        while more := self.client.recv(1_000_000):
            data += more
        return data


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.client.close()


@pytest.mark.parametrize("words", [b"", b"kick", LARGE], ids=["none", "few", "many"])
def test_the_client_gets_all_words_and_then_the_end(pair: Pair, words: bytes) -> None:
    pair.linger(words)
    assert pair.read_all() == words
    pair.client.close()
    until(lambda: bool(pair.ended))
    assert pair.sock.fileno() == -1


def test_what_the_client_still_sends_is_thrown_away_and_resets_nothing(pair: Pair) -> None:
    pair.client.sendall(b"y" * 100_000)
    pair.linger(b"kick")
    pair.client.sendall(b"y" * 100_000)
    assert pair.read_all() == b"kick"


def test_a_client_that_sends_but_does_not_read_costs_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    linger = pair.linger(LARGE)
    settle()
    steps: list[int] = []
    step = Linger.step

    def counted(linger: Linger) -> None:
        steps.append(1)
        step(linger)

    monkeypatch.setattr(Linger, "step", counted)
    linger._io.stop()
    linger._io.start(linger.step)
    pair.client.sendall(b"y" * 10_000)
    gevent.sleep(0.03)
    assert len(steps) <= 5


def test_a_client_that_neither_reads_nor_leaves_costs_nothing(pair: Pair) -> None:
    pair.linger(b"")
    began, used = time.monotonic(), time.process_time()
    while time.monotonic() < began + 0.05:
        gevent.sleep(0.01)
    assert time.process_time() - used < 0.03
    assert not pair.ended


def test_a_client_that_floods_to_the_last_holds_up_nobody(pair: Pair) -> None:
    pair.linger(b"kick")

    def flood() -> None:
        while not pair.ended:
            pair.client.sendall(b"y" * 200_000)

    flooding = gevent.spawn(flood)
    turns = 0
    until_at = time.monotonic() + 0.05
    while time.monotonic() < until_at:
        gevent.sleep(0)
        turns += 1
    assert turns > 3
    flooding.kill()


def test_a_cut_ends_it_at_once_and_only_once(pair: Pair) -> None:
    linger = pair.linger(LARGE)
    linger.cut()
    linger.cut()
    assert pair.ended == [linger]
    assert LARGE.startswith(pair.read_all())


def test_a_client_that_is_gone_ends_it(pair: Pair) -> None:
    pair.client.close()
    pair.linger(b"kick")
    until(lambda: bool(pair.ended))
