"""A crowd as a process, against a gateway of a few lines."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest

from common.wire.codec import decode, encode
from common.wire.framing import cut
from tests.waiting import until
from tools.bots import Bots

FACTS = {"map": "arena", "line": "0.1", "tick": 1, "width": 1_000, "height": 1_000, "view": 100, "ack": 0}


class Gateway:
    """Lets bots in as players 1, 2, 3 …; says what the test wants.

    Attributes:
        players: of each that is in, the connection; the first bot is the one that watches.
        inputs: (player, body) as they came.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.players: dict[int, socket.socket] = {}
        self.inputs: list[tuple[int, dict[str, Any]]] = []
        self._tasks = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._tasks.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        rest, you = b"", 0
        with sock, suppress(OSError):
            while data := sock.recv(65_536):
                bodies, rest = cut(rest + data, 65_536)
                for packet in map(decode, bodies):
                    if packet.op == "hello":
                        sock.sendall(encode("ok", packet.id, {}))
                    elif packet.op == "enter":
                        you = 1 + int(packet.body["data"]["name"].removeprefix("bot"))
                        self.players[you] = sock
                        sock.sendall(encode("ok", packet.id, {**FACTS, "you": you}))
                    else:
                        self.inputs.append((you, packet.body))

    def say(self, player: int, op: str, body: dict[str, Any]) -> None:
        self.players[player].sendall(encode(op, 0, body))

    def tick(self, tick: int, places: dict[int, tuple[int, int]], told: dict[int, tuple[int, int]]) -> None:
        """Tell each player where all are; the watcher, player 1, as `told` has it."""
        for player in self.players:
            rows = [
                [n, "player", x, y, None] for n, (x, y) in (places | (told if player == 1 else {})).items()
            ]
            self.say(player, "state", {"map": "arena", "tick": tick, "cell": 0, "enter": rows})

    def close(self) -> None:
        gevent.killall(self._tasks, timeout=1)
        self._listener.close()


class Crowd:
    """The process, and all it has counted so far."""

    def __init__(self, port: int) -> None:
        plan = {"ports": [port], "count": 2, "watchers": 1, "token_key": "x" * 40}
        self.bots = Bots(plan)
        self.counts: Counter[str] = Counter()
        self.timed = 0.0
        self.told: dict[str, Any] = {}

    def report(self) -> dict[str, Any]:
        self.told = self.bots.report()
        self.counts.update(self.told["counts"])
        self.timed += self.told["input_to_state_ms"]["count"]
        return self.told

    def counted(self, name: str, least: int = 1) -> bool:
        self.report()
        return self.counts[name] >= least


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.close()


@pytest.fixture
def crowd(gateway: Gateway) -> Iterator[Crowd]:
    made = Crowd(gateway.port)
    try:
        until(lambda: made.report()["here"] == 2, 20)
        yield made
    finally:
        made.bots.close()


def test_bots_act_and_time_how_long_it_takes_until_they_see_it(gateway: Gateway, crowd: Crowd) -> None:
    gateway.tick(2, {1: (500, 500), 2: (510, 500)}, {})
    until(lambda: {player for player, _ in gateway.inputs} == {1, 2}, 20)
    player, body = gateway.inputs[0]
    assert (body["n"], body["data"]["do"]) == (1, "walk")
    crowd.report()
    assert crowd.timed == 0
    gateway.say(player, "state", {"map": "arena", "tick": 3, "ack": 1})
    until(lambda: crowd.report() and crowd.timed == 1, 20)


TOLD: dict[str, tuple[tuple[int, int], int]] = {
    "the truth": ((520, 500), 0),
    "another place": ((525, 500), 1),
}


@pytest.mark.parametrize(("place", "wrong"), TOLD.values(), ids=TOLD)
def test_what_a_watcher_is_told_is_compared_with_where_the_others_are(
    gateway: Gateway, crowd: Crowd, place: tuple[int, int], wrong: int
) -> None:
    for tick in range(2, 30):
        gateway.tick(tick, {1: (500, 500 + tick), 2: (520, 500 + tick)}, {2: (place[0], place[1] + tick)})
    until(lambda: crowd.counted("looks"), 20)
    assert (crowd.counts["in_view"], crowd.counts["compared"]) == (1, 2)
    assert crowd.counts["wrong"] == len(crowd.told["wrong"]) == wrong


def test_a_bot_that_is_lost_comes_back(gateway: Gateway, crowd: Crowd) -> None:
    lost = gateway.players[1]
    gateway.say(1, "kick", {"code": "restart", "reason": "new version", "reconnect": True})
    until(lambda: gateway.players[1] is not lost, 20)
    until(lambda: crowd.report()["here"] == 2, 20)
    assert crowd.told["errors"] == {"kick restart: new version": 1}
