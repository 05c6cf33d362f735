from __future__ import annotations

from typing import Any

import gevent
import msgpack
import pytest

from common.errors import BadField, NotFound, Unavailable
from common.net import log as logs
from common.net.matches import Matches
from common.net.tasks import Tasks
from common.rules.queue import Mode
from common.settings import Matches as Settings
from tests.waiting import until

MODES = {"duel": Mode(teams=2), "pairs": Mode(teams=2, size=2)}


class Scene:
    """Matches, with the users and instances they reach for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.heard: list[tuple[list[str], dict[str, Any]]] = []
        self.asked: list[tuple[str, int, Any]] = []
        self.failure: Exception | None = None
        self.tasks = Tasks(logs.get())
        self.matches = Matches(
            "arena",
            MODES,
            Settings(step_every=0.02),
            self.make,
            self.deliver,
            self.tasks,
            rank=lambda user, claimed: min(claimed, 9_000),
            clock=lambda: self.now,
        )

    def make(self, area: str, size: int, data: Any) -> str:
        gevent.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.asked.append((area, size, data))
        return f"0:{len(self.asked)}"

    def deliver(self, users: list[str], data: bytes) -> None:
        gevent.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.heard.append((users, msgpack.unpackb(data)["match"]))

    def call(self, uid: str, method: str, product: str = "demo", **args: Any) -> Any:
        return self.matches.call(product, uid, f"match.{method}", args)

    def states(self, *uids: str) -> list[str]:
        return [self.call(uid, "status")["state"] for uid in uids]

    def told(self) -> list[tuple[str, str]]:
        """Give what was heard: (user, state)."""
        return [(user, what["state"]) for users, what in self.heard for user in users]

    def duel(self) -> int:
        """Have ann and bob be offered a match."""
        for uid in ("ann", "bob"):
            self.call(uid, "find", mode="duel")
        self.matches.step()
        number: int = self.call("ann", "status")["match"]
        return number


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    assert scene.tasks.stop(1.0) == []


def test_two_meet_accept_and_get_an_instance_for_them_alone(scene: Scene):
    scene.matches.start()
    for uid in ("ann", "bob"):
        scene.call(uid, "find", mode="duel", rank=1_000)
    until(lambda: ("demo/bob", "offered") in scene.told())
    number = scene.heard[-1][1]["match"]
    for uid in ("ann", "bob"):
        scene.call(uid, "accept", match=number)
    until(lambda: ("demo/ann", "made") in scene.told())
    assert scene.asked == [
        (
            "demo/arena",
            2,
            {"guests": ["ann", "bob"], "match": number, "mode": "duel", "teams": [["ann"], ["bob"]]},
        )
    ]
    users, made = scene.heard[-1]
    assert users == ["demo/ann", "demo/bob"]
    assert (made["map"], made["line"], made["match"]) == ("arena", "0:1", number)


def test_all_wait_on_while_no_instance_is_to_be_had(scene: Scene):
    number = scene.duel()
    scene.failure = Unavailable("away")
    for uid in ("ann", "bob"):
        scene.call(uid, "accept", match=number)
    scene.matches.step()
    until(lambda: scene.states("ann", "bob") == ["waiting", "waiting"])
    scene.failure = None
    scene.matches.step()
    assert scene.states("ann", "bob") == ["offered", "offered"]


def test_instances_that_failed_are_not_counted_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("common.net.matches.INSTANCES_AT_ONCE", 1)
    scene.failure = Unavailable("away")
    for _ in range(3):
        number = scene.duel()
        for uid in ("ann", "bob"):
            scene.call(uid, "accept", match=number)
        scene.matches.step()
        until(lambda: scene.states("ann", "bob") == ["waiting", "waiting"])


def test_a_notice_that_is_lost_holds_up_no_others(scene: Scene):
    scene.failure = Unavailable("away")
    scene.matches.start()
    scene.duel()
    gevent.sleep(0.03)
    scene.failure = None
    scene.call("ann", "cancel")
    until(lambda: {("demo/ann", "ended"), ("demo/bob", "waiting")} <= set(scene.told()))


def test_products_meet_among_themselves_only(scene: Scene):
    scene.call("ann", "find", mode="duel")
    scene.call("bob", "find", product="other", mode="duel")
    scene.matches.step()
    assert scene.states("ann", "bob") == ["waiting", "none"]
    assert len(scene.matches) == 2


def test_a_party_is_named_by_who_asks(scene: Scene):
    scene.call("ann", "find", mode="pairs", party=["bob"])
    assert scene.states("ann", "bob") == ["waiting", "waiting"]
    assert scene.call("bob", "cancel") == {"state": "none"}
    assert scene.states("ann") == ["none"]


def test_the_map_has_the_last_word_on_ranks(scene: Scene):
    scene.call("ann", "find", mode="duel", rank=1e9)
    scene.call("bob", "find", mode="duel", rank=9_000)
    scene.matches.step()
    assert scene.states("ann", "bob") == ["offered", "offered"]


def test_who_only_asks_costs_nothing(scene: Scene):
    assert scene.call("ann", "status", product="new") == {"state": "none"}
    assert scene.matches._products == {}


BAD = {
    "no mode": ("find", {}, "mode"),
    "an unknown mode": ("find", {"mode": "war"}, "mode"),
    "a rank that is none": ("find", {"mode": "duel", "rank": "high"}, "rank"),
    "a rank without end": ("find", {"mode": "duel", "rank": float("inf")}, "rank"),
    "a rank that is a bool": ("find", {"mode": "duel", "rank": True}, "rank"),
    "a party of no names": ("find", {"mode": "pairs", "party": ["a b"]}, "party"),
    "a party of no list": ("find", {"mode": "pairs", "party": "bob"}, "party"),
    "no match": ("accept", {}, "match"),
    "no yes": ("accept", {"match": 1, "yes": 1}, "yes"),
}


@pytest.mark.parametrize(("method", "args", "field"), BAD.values(), ids=BAD)
def test_a_wrong_field_is_named(scene: Scene, method: str, args: dict[str, Any], field: str):
    with pytest.raises(BadField) as caught:
        scene.call("ann", method, **args)
    assert caught.value.facts["field"] == field
    assert len(scene.matches) == 0


def test_what_is_no_method_or_no_map_of_fields_is_refused(scene: Scene):
    with pytest.raises(NotFound):
        scene.matches.call("demo", "ann", "match.win", {})
    with pytest.raises(BadField):
        scene.matches.call("demo", "ann", "match.find", ["duel"])
    assert scene.matches.call("demo", "ann", "match.status", None) == {"state": "none"}


def test_a_mode_nobody_could_play_is_refused_at_the_start(scene: Scene):
    with pytest.raises(ValueError, match="teams"):
        Matches("arena", {"war": Mode(99)}, Settings(), scene.make, scene.deliver, scene.tasks)
