"""A map in a real cluster: players on two gateways and over two carriers see each other walk."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Raw
from tests.common.rules.beholder import Beholder
from tests.worlds.page import client_code

MAPS = {
    "cluster.maps": {"plaza": 1, "meadow": 1, "pond": 1},
    "world.maps": {"meadow": "worlds.meadow:Meadow", "pond": "tests.worlds.pond:Pond"},
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
}
MEADOW = "world-1"


@pytest.fixture(scope="module")
def meadow() -> Iterator[Cluster]:
    """A cluster with a meadow, and the pond of docs/worlds.md."""
    with running(MAPS) as started:
        yield started


class Walker:
    """A client in the meadow, with what it knows.

    Attributes:
        eyes: what it has been told of cells.
        ack: number of the last input applied.
        events: told in `state`.
    """

    def __init__(self, cluster: Cluster, uid: str, gateway: int, device: str = "raw") -> None:
        self.raw = Raw(cluster.tcp(gateway))
        self.raw.hello(cluster.token(uid), device)
        self.eyes = Beholder()
        self.ack = 0
        self.events: list[Any] = []
        self.entered: list[dict[str, Any]] = []
        self.you = 0
        self._n = 0

    def enter(self, name: str = "") -> dict[str, Any]:
        body = self.raw.ok("enter", {"map": "meadow", "data": name or None})
        self.you, self._n = body["you"], body["ack"]
        return body

    def input(self, do: str, **fields: Any) -> int:
        self._n += 1
        self.raw.send("input", {"n": self._n, "data": {"do": do, **fields}}, 0)
        return self._n

    def _take(self, packet: Any) -> None:
        op, _, body = packet
        if op == "entered":
            self.entered.append(body)
            self.eyes = Beholder()
            self.you = body.get("you", self.you)
        if op != "state":
            return
        self.ack = body.get("ack", self.ack)
        self.events += body.get("events", [])
        if "cell" in body:
            self.eyes.take(body)

    def watch(self, true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Read until something is true."""
        deadline = time.monotonic() + seconds
        while not true():
            self._take(self.raw.wait(lambda packet: True, max(0.01, deadline - time.monotonic())))

    def at(self, one: int) -> tuple[int, int]:
        """Give where an entity is, as far as it knows."""
        _, x, y, _ = self.eyes.seen()[one]
        return x, y

    def knows(self, one: int) -> bool:
        return one in self.eyes.seen()

    def watch_both(self, one: Walker, other: Walker) -> None:
        """Read until it knows of two players."""
        self.watch(lambda: self.knows(one.you) and self.knows(other.you))

    def wait_entered(self, times: int, seconds: float = 20.0) -> None:
        """Read until it was told where it is so many times."""
        self.watch(lambda: len(self.entered) >= times, seconds)


@pytest.fixture
def walker(meadow: Cluster) -> Iterator[Callable[..., Walker]]:
    walkers: list[Walker] = []

    def make(uid: str, gateway: int, device: str = "raw") -> Walker:
        walkers.append(Walker(meadow, uid, gateway, device))
        return walkers[-1]

    yield make
    for one in walkers:
        one.raw.close()


def test_two_on_two_gateways_see_each_other_walk_and_go(walker: Callable[..., Walker]) -> None:
    ann, bob = walker("ann", 0), walker("bob", 1)
    told = ann.enter("Ann")
    assert (told["map"], told["line"], told["width"], told["picked"]) == ("meadow", "0.1", 1_000, 0)
    bob.enter()
    for one in (ann, bob):
        one.watch_both(ann, bob)
    assert ann.eyes.seen()[ann.you] == ["player", 500, 500, {"name": "Ann"}]
    walked = ann.input("walk", dx=1, dy=0)
    ann.watch(lambda: ann.ack == walked)
    bob.watch(lambda: bob.at(ann.you)[0] > 510)
    ann.input("walk", dx=0, dy=0)
    ann.raw.ok("exit", {})
    bob.watch(lambda: not bob.knows(ann.you))
    assert bob.raw.ok("call", {"map": "meadow", "method": "score"})["result"] == [["bob", 0]]
    bob.raw.ok("exit", {})


def test_one_who_broke_off_goes_on_in_its_place_through_another_gateway(
    walker: Callable[..., Walker],
) -> None:
    ann, bob = walker("ann", 0), walker("bob", 0)
    bob.enter()
    ann.enter()
    ann.input("walk", dx=0, dy=1)
    ann.watch(lambda: ann.knows(ann.you) and ann.at(ann.you)[1] > 505)
    last = ann.input("walk", dx=0, dy=0)
    ann.raw.close()
    again = walker("ann", 1, "other")
    body = again.enter()
    assert (body["you"], body["ack"]) == (ann.you, last)
    again.watch(lambda: again.knows(again.you))
    assert again.at(again.you)[1] > 505
    bob.watch(lambda: bob.knows(ann.you))
    for one in (again, bob):
        one.raw.ok("exit", {})


def test_the_client_of_the_page_plays_the_map_of_the_page(meadow: Cluster) -> None:
    code = client_code().replace("7000", str(meadow.places.port))
    command = [sys.executable, "-u", "-c", code, meadow.token("kermit")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as playing:
        assert playing.stdout is not None
        said = []
        for line in playing.stdout:
            said.append(ast.literal_eval(line))
            if "ack" in said[-1][2] and said[-1][0] == "state":
                break
        playing.kill()
    answers = {number: (op, body) for op, number, body in said if number}
    assert {number: op for number, (op, _) in answers.items()} == {1: "ok", 2: "ok", 3: "ok"}
    assert answers[2][1]["lilies"] == 5
    assert said[-1][2]["ack"] == 1
    seen = [row for op, _, body in said if op == "state" for row in body.get("enter", ())]
    assert {kind for _, kind, *_ in seen} == {"player", "lily"}
    assert [x for _, _, x, _, data in seen if data == {"name": "Kermit"}][-1] == 500


def test_a_world_that_was_killed_is_away_and_lets_its_players_in_again(
    meadow: Cluster, walker: Callable[..., Walker]
) -> None:
    ann, bob = walker("ann", 0), walker("bob", 1)
    ann.enter("Ann")
    bob.enter()
    ann.watch(lambda: ann.knows(bob.you))
    old = meadow.kill(MEADOW)
    for one in (ann, bob):
        one.wait_entered(1)
        assert one.entered == [{"map": "meadow", "away": True}]
    for one in (ann, bob):
        one.wait_entered(2)
    for one in (ann, bob):
        one.watch_both(ann, bob)
    assert ann.eyes.seen()[ann.you][3] == {"name": "Ann"}
    walked = ann.input("walk", dx=1, dy=0)
    ann.watch(lambda: ann.ack == walked)
    for one in (ann, bob):
        one.raw.ok("exit", {})
    meadow.wait_healed({MEADOW: old})
