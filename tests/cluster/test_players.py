"""Players of two maps on real processes: stored, moved, taken over, and never twice."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from common.rules.owner import parse_owner
from loadtest.moves.look import Look, look
from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Raw
from tests.waiting import until

MAPS = {
    "cluster.maps": {"plaza": 1, "east": 1, "west": 1},
    "world.maps": {"east": "loadtest.moves.depot:Depot", "west": "loadtest.moves.depot:Depot"},
    "world.save_every": 1.0,
    "world.linkdead": 5.0,
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "lease.renew_every": 0.5,
    "lease.frozen_after": 1.5,
    "lease.suspect_after": 2.0,
    "lease.gone_after": 3.0,
    "link.idle_every": 0.25,
    "link.silent_after": 1.0,
}
EAST, WEST = "world-1", "world-2"
BACK_SECONDS = 10.0
"""How soon a player goes on after its world was killed."""


@pytest.fixture(scope="module")
def depots() -> Iterator[Cluster]:
    """A cluster with two maps that share what they keep."""
    with running(MAPS) as started:
        yield started


@pytest.fixture(scope="module")
def inside(depots: Cluster) -> Iterator[Look]:
    with look(depots.settings, depots.places) as looking:
        yield looking


class Player:
    """A client in one of the maps.

    Attributes:
        place: the body of the newest `enter` reply or `entered`.
        away: it was told that its world is gone, and nothing since.
        ack: number of the last input applied.
        events: told in `state`.
        full: cells told as a whole since it came to `place`.
    """

    def __init__(self, cluster: Cluster, uid: str, gateway: int = 0) -> None:
        self.user = f"demo/{uid}"
        self.raw = Raw(cluster.tcp(gateway))
        self.raw.hello(cluster.token(uid), f"device{gateway}")
        self.place: dict[str, Any] = {}
        self.away = False
        self.ack = self.n = 0
        self.events: list[Any] = []
        self.full = 0

    def enter(self, where: str, **data: Any) -> dict[str, Any]:
        """Enter a map; give the answer."""
        body = self.raw.ok("enter", {"map": where, "data": data})
        self._came(body)
        return body

    def _came(self, body: dict[str, Any]) -> None:
        self.place, self.away, self.full = body, False, 0
        self.ack = self.n = body["ack"]

    def take(self, count: int = 1) -> None:
        """Take up things; returns when the map has applied that."""
        for _ in range(count):
            self.n += 1
            self.raw.send("input", {"n": self.n, "data": {"take": self.n}}, 0)
        self.until(lambda: self.ack >= self.n)

    def ask(self, method: str, **args: Any) -> Any:
        """Call a method of the map it is in."""
        body = {"map": self.place["map"], "method": method, "args": args}
        number = self.raw.send("call", body)
        answers: list[Any] = []

        def heard() -> bool:
            answers.extend(packet for packet in self.raw.seen[-1:] if packet[1] == number)
            return bool(answers)

        self.until(heard)
        assert answers[0][0] == "ok", answers[0]
        return answers[0][2]["result"]

    def keep(self) -> None:
        """Have it stored; returns when it is."""
        count = self.ask("keep")
        self.until(lambda: any(len(one["kept"]) == count and one["stored"] for one in self.events))

    def until(self, true: Callable[[], bool], seconds: float = BACK_SECONDS) -> None:
        """Read until something is true."""
        deadline = time.monotonic() + seconds
        while not true():
            op, _, body = self.raw.wait(lambda packet: True, max(0.01, deadline - time.monotonic()))
            if op == "entered" and body.get("away"):
                self.away = True
            elif op == "entered":
                self._came(body)
            elif op == "state":
                self.ack = body.get("ack", self.ack)
                self.full += body.get("full", False)
                self.events += body.get("events", [])

    def until_back(self) -> None:
        """Read until it was told that its world is gone, and then that it is back."""
        self.until(lambda: self.away)
        self.until(lambda: not self.away)


@pytest.fixture
def player(depots: Cluster) -> Iterator[Callable[..., Player]]:
    players: list[Player] = []

    def make(uid: str, gateway: int = 0) -> Player:
        players.append(Player(depots, uid, gateway))
        return players[-1]

    yield make
    for one in players:
        one.raw.close()


def items(uid: str, *numbers: int) -> list[list[Any]]:
    return [[uid, number] for number in numbers]


def test_who_exits_is_stored_and_comes_back_with_what_it_had(
    player: Callable[..., Player], inside: Look
) -> None:
    ann = player("ann")
    assert ann.enter("east")["items"] == []
    ann.take(3)
    ann.raw.ok("exit", {})
    owner, state = inside.stored([ann.user])[ann.user]
    assert (owner, state.place, state.input) == ("", "demo/east/0.1", 3)
    again = ann.enter("west")
    assert (again["items"], again["ack"]) == (items("ann", 1, 2, 3), 3)
    ann.raw.ok("exit", {})


def test_a_move_keeps_the_connection_and_what_one_has_and_shows_the_other_map(
    player: Callable[..., Player], inside: Look
) -> None:
    ann = player("bob")
    ann.enter("east")
    ann.take(2)
    ann.ask("go", to="west", data="by the door")
    ann.until(lambda: ann.place["map"] == "west")
    assert (ann.place["items"], ann.place["data"]) == (items("bob", 1, 2), "by the door")
    assert ann.place["ack"] == 2
    ann.until(lambda: ann.full > 0)
    ann.raw.send("input", {"n": 2, "data": {"take": 2}}, 0)
    ann.take()
    assert ann.ask("items") == items("bob", 1, 2, 3), "none was applied twice"
    assert inside.stored([ann.user])[ann.user][0] == WEST
    assert ann.user not in inside.world(EAST)
    ann.ask("go", to="east")
    ann.until(lambda: ann.place["map"] == "east")
    ann.raw.ok("exit", {})


def test_a_map_that_does_not_exist_is_not_gone_to(player: Callable[..., Player]) -> None:
    ann = player("eve")
    ann.enter("east")
    ann.ask("go", to="nowhere")
    ann.take(2)
    assert ann.ask("items") == items("eve", 1, 2)
    ann.raw.ok("exit", {})


def test_players_of_a_killed_world_hear_it_wait_and_go_on_from_their_last_save(
    depots: Cluster, player: Callable[..., Player], inside: Look
) -> None:
    ann, eve = player("dan"), player("fay", 1)
    for one in (ann, eve):
        one.enter("east")
        one.take(2)
    ann.keep()
    until(lambda: len(inside.stored([eve.user])[eve.user][1].items) == 2, 10.0)
    for one in (ann, eve):
        one.take(2)
    began = time.monotonic()
    old = depots.kill(EAST)
    for one in (ann, eve):
        one.until_back()
    assert time.monotonic() - began < BACK_SECONDS
    for one, uid in ((ann, "dan"), (eve, "fay")):
        has = [number for _, number in one.place["items"]]
        assert has == list(range(1, len(has) + 1)), "what was saved is the beginning of what it had"
        assert len(has) >= 2
        assert one.place["ack"] == has[-1]
        one.take()
        assert one.ask("items") == items(uid, *has, has[-1] + 1)
        one.raw.ok("exit", {})
    depots.wait_healed({EAST: old})


def test_who_breaks_off_goes_on_through_another_gateway_in_the_map_it_is_in(
    player: Callable[..., Player], inside: Look
) -> None:
    ann = player("gus")
    before = ann.enter("east")
    ann.take(2)
    ann.raw.close()
    again = player("gus", 1)
    after = again.enter("west")
    assert (after["map"], after["line"], after["you"], after["life"]) == (
        "east",
        before["line"],
        before["you"],
        before["life"],
    )
    assert again.ask("items") == items("gus", 1, 2)
    again.raw.close()
    until(lambda: inside.stored([again.user])[again.user][0] == "", 10.0)
    assert player("gus").enter("west")["items"] == items("gus", 1, 2)


def test_a_zombie_cannot_overwrite_what_its_successor_saved(
    depots: Cluster, player: Callable[..., Player], inside: Look
) -> None:
    ann = player("hal")
    ann.enter("east")
    ann.take(2)
    ann.keep()
    ann.take(2)
    depots.kill(EAST, signal.SIGSTOP)
    try:
        ann.until(lambda: ann.away)
        assert ann.raw.error("exit", {})["code"] == "unavailable"

        def entered() -> bool:
            op, _, body = ann.raw.request("enter", {"map": "west"})
            if op == "ok":
                ann._came(body)
            return op == "ok"

        until(entered, 15.0)
        assert ann.place["items"] == items("hal", 1, 2)
        ann.take()
        ann.keep()
        before = inside.records([ann.user])[ann.user]
    finally:
        depots.kill(EAST, signal.SIGCONT)
    until(lambda: ann.user not in inside.world(EAST), 15.0)
    after = inside.records([ann.user])[ann.user]
    assert parse_owner(after.owner).name == WEST
    assert (after.blob, after.route_ver) == (before.blob, before.route_ver)
    ann.take()
    assert ann.ask("items") == items("hal", 1, 2, 3, 4)
    ann.raw.ok("exit", {})
    depots.wait_ready(15.0)
