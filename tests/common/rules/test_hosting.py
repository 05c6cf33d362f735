from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.errors import BadField, Forbidden, Full, NotFound, RequestError, Unavailable
from common.rules.hosting import Hosting

LINE, OTHER, INSTANCE = "demo/arena/1.1", "demo/arena/1.2", "demo/arena/1:1764"
IDLE, HOLD = 30.0, 50.0


@pytest.fixture
def hosting() -> Hosting:
    return Hosting(1, full=2, copies=2, idle=IDLE, hold=HOLD)


def refused(kind: type[RequestError], act: Any, *args: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        act(*args)
    return caught.value


def enter(hosting: Hosting, key: str = LINE, uid: str = "ann", now: float = 0.0) -> None:
    hosting.entered(hosting.admit(key, uid, now))


def over(hosting: Hosting, now: float) -> list[str]:
    return [copy.key for copy in hosting.over(now)]


def test_the_first_who_comes_opens_a_line(hosting: Hosting):
    enter(hosting)
    assert hosting.rows() == [[LINE, 1, 1]]


def test_an_instance_is_there_only_when_it_was_opened(hosting: Hosting):
    refused(NotFound, hosting.admit, INSTANCE, "ann", 0.0)
    assert hosting.open(INSTANCE, {"mode": "duel"}, 0.0)
    assert hosting.admit(INSTANCE, "ann", 0.0).data == {"mode": "duel"}


def test_opening_again_changes_nothing(hosting: Hosting):
    hosting.open(INSTANCE, {"mode": "duel"}, 0.0)
    assert not hosting.open(INSTANCE, None, 5.0)
    assert hosting.admit(INSTANCE, "ann", 5.0).data == {"mode": "duel"}


def test_an_instance_lets_its_guests_in_and_nobody_else(hosting: Hosting):
    hosting.open(INSTANCE, {"guests": ["ann"]}, 0.0)
    assert hosting.admit(INSTANCE, "ann", 0.0).key == INSTANCE
    refused(Forbidden, hosting.admit, INSTANCE, "bob", 0.0)


FOREIGN = {
    "another's line": ("demo/arena/0.1", NotFound),
    "another's instance": ("demo/arena/0:7", NotFound),
    "no line": ("demo/arena/x", BadField),
}


@pytest.mark.parametrize(("key", "kind"), FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_ours_is_refused(hosting: Hosting, key: str, kind: type[RequestError]):
    refused(kind, hosting.open, key, None, 0.0)
    refused(kind, hosting.admit, key, "ann", 0.0)
    assert len(hosting) == 0


def test_a_copy_and_the_process_take_only_so_many(hosting: Hosting):
    enter(hosting)
    enter(hosting)
    assert refused(Full, enter, hosting).facts == {"limit": 2}
    enter(hosting, OTHER)
    assert refused(Full, hosting.open, INSTANCE, None, 0.0).facts == {"limit": 2}


def test_a_line_closes_when_it_was_empty_for_long_enough(hosting: Hosting):
    enter(hosting, now=0.0)
    copy = hosting.get(LINE)
    assert copy is not None
    assert over(hosting, 1_000.0) == []
    hosting.left(copy, 1_000.0)
    assert over(hosting, 1_000.0 + IDLE - 0.1) == []
    assert over(hosting, 1_000.0 + IDLE) == [LINE]
    hosting.close(copy)
    assert hosting.get(LINE) is None


def test_a_copy_nobody_came_to_yet_waits_longer(hosting: Hosting):
    hosting.open(INSTANCE, None, 0.0)
    assert over(hosting, HOLD - 0.1) == []
    assert over(hosting, HOLD) == [INSTANCE]


def test_one_who_comes_back_in_time_keeps_it_open(hosting: Hosting):
    enter(hosting, now=0.0)
    copy = hosting.admit(LINE, "ann", 0.0)
    hosting.left(copy, 10.0)
    hosting.entered(copy)
    assert over(hosting, 100.0) == []
    assert hosting.rows() == [[LINE, 1, 2]]


def test_while_draining_nobody_comes_in_and_what_is_empty_closes_at_once(hosting: Hosting):
    enter(hosting)
    hosting.open(INSTANCE, None, 0.0)
    hosting.draining = True
    refused(Unavailable, hosting.admit, LINE, "bob", 0.0)
    refused(Unavailable, hosting.open, "demo/arena/1:9", None, 0.0)
    assert over(hosting, 0.0) == [INSTANCE]


class HostingModel(RuleBasedStateMachine):
    """Players come and go; copies close only when they are empty, and counts are what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.hosting = Hosting(1, full=2, copies=2, idle=IDLE, hold=HOLD)
        self.truth: dict[str, int] = {}

    @rule(key=st.sampled_from([LINE, OTHER, INSTANCE]))
    def enter(self, key: str) -> None:
        try:
            copy = self.hosting.admit(key, "ann", self.now)
        except RequestError:
            return
        self.hosting.entered(copy)
        self.truth[key] = self.truth.get(key, 0) + 1

    @rule()
    def make(self) -> None:
        try:
            self.hosting.open(INSTANCE, None, self.now)
        except Full:
            return
        self.truth.setdefault(INSTANCE, 0)

    @rule(which=st.integers(0, 9))
    @precondition(lambda self: any(self.truth.values()))
    def leave(self, which: int) -> None:
        keys = sorted(key for key, count in self.truth.items() if count)
        key = keys[which % len(keys)]
        copy = self.hosting.get(key)
        assert copy is not None
        self.hosting.left(copy, self.now)
        self.truth[key] -= 1

    @rule(seconds=st.sampled_from([1.0, IDLE, HOLD]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def close_what_is_over(self) -> None:
        for copy in self.hosting.over(self.now):
            assert not self.truth.pop(copy.key, 0)
            self.hosting.close(copy)

    @invariant()
    def counts_are_what_happened(self) -> None:
        rows = {row[0]: row[1] for row in self.hosting.rows()}
        assert {key: count for key, count in rows.items() if count} == {
            key: count for key, count in self.truth.items() if count
        }
        assert len(rows) <= 2
        assert all(count <= 2 for count in rows.values())


TestHostingModel = HostingModel.TestCase
TestHostingModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
