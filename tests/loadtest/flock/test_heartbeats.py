from __future__ import annotations

from loadtest.flock.heartbeats import ANSWER_SECONDS, Heartbeats
from loadtest.flock.members import GONE, HERE, Members


def members(count: int) -> Members:
    made = Members(count)
    for slot in range(count):
        made.state[slot] = HERE
    return made


def test_every_client_is_pinged_once_in_the_interval_evenly_and_in_turn() -> None:
    heartbeats = Heartbeats(members(7), every=10.0)
    assert list(heartbeats.due(100.0)) == []
    pinged = [list(heartbeats.due(100.0 + tick / 10)) for tick in range(1, 202)]
    assert [slot for due in pinged for slot in due] == [*range(7), *range(7)]
    assert max(map(len, pinged)) == 1


def test_a_flock_that_stood_still_does_not_ping_anybody_twice_for_it() -> None:
    heartbeats = Heartbeats(members(3), every=1.0)
    list(heartbeats.due(0.0))
    assert list(heartbeats.due(60.0)) == [0, 1, 2]


def test_who_is_not_here_is_passed_over() -> None:
    some = members(3)
    some.state[1] = 0
    heartbeats = Heartbeats(some, every=1.0)
    list(heartbeats.due(0.0))
    assert list(heartbeats.due(1.0)) == [0, 2]


def test_only_pings_without_an_answer_in_their_time_are_overdue_and_only_once() -> None:
    some = members(3)
    heartbeats = Heartbeats(some, every=1.0)
    for slot in range(3):
        heartbeats.asked(slot, 1_000)
    some.answered[0] = 1_500
    some.asked[2] = 9_000  # it has another connection by now
    late = 1_000 + int(ANSWER_SECONDS * 1e6)
    assert list(heartbeats.overdue(late - 1)) == []
    assert list(heartbeats.overdue(late)) == [1]
    assert list(heartbeats.overdue(late + 1)) == []


def test_who_left_before_its_answer_came_is_not_overdue() -> None:
    some = members(2)
    heartbeats = Heartbeats(some, every=1.0)
    for slot in range(2):
        heartbeats.asked(slot, 1_000)
    some.state[0] = GONE
    assert list(heartbeats.overdue(1_000 + int(ANSWER_SECONDS * 1e6))) == [1]
