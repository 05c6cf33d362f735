from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.common.net.register.scene import ANN, BOB, NAMES, NOW, Scene

ONE, TWO = NAMES
KEPT = (77, b"body")


def test_a_kept_message_goes_once_to_each_gateway_with_all_its_connections(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN, "p")
    scene.log_in(TWO, 2, ANN, "w")
    scene.log_in(ONE, 3, BOB)
    rows = [[ANN, 5, 4], [BOB, 9, 7], ["demo/nobody", 1, 0]]
    assert scene.register.reach.kept(rows, *KEPT) == 2
    assert sorted(scene.links.take()) == [
        (ONE, ["kept", [[1, 5, 4], [3, 9, 7]], *KEPT]),
        (TWO, ["kept", [[2, 5, 4]], *KEPT]),
    ]


REFUSING = {"a full link": "full", "a link that is down": "down"}


@pytest.mark.parametrize("how", REFUSING.values(), ids=REFUSING)
def test_connections_that_could_not_be_told_are_nudged_with_their_newest_number(
    scene: Scene, how: str
) -> None:
    scene.log_in(ONE, 1, ANN)
    gone = scene.log_in(ONE, 2, BOB)
    getattr(scene.links, how).add(ONE)
    assert scene.register.reach.kept([[ANN, 5, 4], [BOB, 3, 0]], *KEPT) == 0
    assert scene.register.reach.kept([[ANN, 8, 5]], *KEPT) == 0
    assert scene.register.reach.kept([[ANN, 5, 4]], *KEPT) == 0
    scene.log_out(gone)
    assert (len(scene.register.reach), scene.counters.kept_late) == (2, 4)
    assert scene.turn() == []
    getattr(scene.links, how).clear()
    assert scene.turn() == [(ONE, ["kept", [[1, 8, 8]], 0, b""])]
    assert scene.turn() == [] and len(scene.register.reach) == 0


def test_a_device_that_moved_to_another_gateway_is_not_nudged_at_the_old_one(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    scene.links.full.add(ONE)
    scene.register.reach.kept([[ANN, 5, 4]], *KEPT)
    scene.log_in(TWO, 2, ANN)
    scene.links.full.clear()
    assert scene.turn() == []


def test_many_nudges_go_in_bounded_items(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.net.register.reach.NUDGED", 2)
    for conn in range(5):
        scene.log_in(ONE, conn, f"demo/{conn}")
    scene.links.full.add(ONE)
    scene.register.reach.kept([[f"demo/{conn}", 3, 2] for conn in range(5)], *KEPT)
    scene.links.full.clear()
    assert [len(item[1]) for _, item in scene.turn()] == [2, 2, 1]


def test_who_turns_out_to_be_here_after_a_message_came_is_nudged() -> None:
    scene = Scene(announced=False)
    assert scene.register.reach.kept([[ANN, 5, 4], [BOB, 2, 1]], *KEPT) == 0
    scene.announce(ONE, [1, ANN, "p", "phone", 5, NOW, []])
    assert scene.turn() == [(ONE, ["kept", [[1, 5, 5]], 0, b""])]
    scene.announce(TWO, [2, BOB, "p", "phone", 6, NOW, []])
    assert scene.turn() == [(TWO, ["kept", [[2, 2, 2]], 0, b""])]
    scene.announce(TWO, [3, ANN, "w", "phone", 7, NOW, []])
    assert scene.turn() == [], "all was known before"


def test_users_missed_are_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.net.register.reach.MISSED", 2)
    scene = Scene(announced=False)
    for user in (ANN, BOB, "demo/cat", BOB):
        scene.register.reach.kept([[user, 5, 4]], *KEPT)
    assert len(scene.register.reach) == 2
    rows = [[conn, user, "p", "phone", 5, NOW, []] for conn, user in enumerate((ANN, BOB, "demo/cat"))]
    scene.announce(ONE, *rows)
    assert scene.turn() == [(ONE, ["kept", [[1, 5, 5], [2, 5, 5]], 0, b""])]


def test_a_message_that_is_not_kept_reaches_who_can_be_told(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    scene.log_in(ONE, 2, ANN, "w")
    scene.log_in(TWO, 3, BOB)
    scene.links.full.add(TWO)
    assert scene.register.reach.live([ANN, BOB, ANN], 77, "eve", b"x", 123) == 1
    ((name, item),) = scene.links.take()
    assert (name, sorted(item[1]), item[2:]) == (ONE, [1, 2], [77, "eve", b"x", 123])
    scene.links.full.clear()
    assert scene.turn() == [], "it is not repeated"


def test_an_assignment_is_told_to_all_connections_and_repeated_while_the_link_lasts(scene: Scene) -> None:
    scene.log_in(ONE, 1, ANN)
    scene.log_in(TWO, 2, ANN, "w")
    scene.links.full.add(ONE)
    scene.links.down.add(TWO)
    assert scene.register.reach.assign(ANN, "demo/plaza/lobby", True) == 1
    scene.links.full.clear()
    assert scene.turn() == [(ONE, ["assign", [1], "demo/plaza/lobby", True])]
    assert scene.register.reach.assign("demo/nobody", "demo/plaza/lobby", True) == 0


class TellingModel(RuleBasedStateMachine):
    """Gateways take what links carry; at rest every connection must have heard of its newest number."""

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene()
        self.conns = 0
        self.seq = 0
        self.newest: dict[str, int] = {}
        self.heard: dict[tuple[str, int], int] = {}

    def take(self, sent: list[tuple[str, list[Any]]]) -> None:
        for name, item in sent:
            if item[0] == "kept":
                for conn, seq, prev in item[1]:
                    assert prev == seq or item[3] == b"body", "only a nudge carries no body"
                    self.heard[name, conn] = max(seq, self.heard.get((name, conn), 0))

    @rule(name=st.sampled_from(NAMES), user=st.sampled_from([ANN, BOB]), device=st.sampled_from("pw"))
    def log_in(self, name: str, user: str, device: str) -> None:
        """A login reads the mailbox: it has heard of all until now."""
        self.conns += 1
        login = self.scene.log_in(name, self.conns, user, device)
        self.heard[name, login.conn] = self.newest.get(user, 0)

    @rule(user=st.sampled_from([ANN, BOB]))
    def send(self, user: str) -> None:
        self.seq += 1
        self.scene.register.reach.kept([[user, self.seq, self.newest.get(user, 0)]], *KEPT)
        self.newest[user] = self.seq
        self.take(self.scene.links.take())

    @rule(name=st.sampled_from(NAMES), how=st.sampled_from(["full", "down"]))
    def refuse_or_not(self, name: str, how: str) -> None:
        getattr(self.scene.links, how).symmetric_difference_update([name])

    @rule()
    def pass_time(self) -> None:
        self.take(self.scene.turn())

    @rule()
    def come_to_rest(self) -> None:
        self.scene.links.full.clear()
        self.scene.links.down.clear()
        self.pass_time()
        assert len(self.scene.register.reach) == 0
        for name, gateway in self.scene.gateways.items():
            for login in gateway.connections.values():
                assert self.heard[name, login.conn] == self.newest.get(login.user, 0)

    def teardown(self) -> None:
        self.come_to_rest()


TellingModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_whatever_links_refuse_every_connection_hears_of_its_newest_message = TellingModel.TestCase
