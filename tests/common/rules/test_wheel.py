from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.wheel import Wheel

TICK = 0.1


def test_an_item_comes_after_its_deadline_and_within_a_tick() -> None:
    wheel: Wheel[str] = Wheel(TICK, slots=16)
    wheel.add(0.55, "a")
    assert wheel.advance(0.54) == []
    assert wheel.advance(0.65) == ["a"]
    assert wheel.advance(9.0) == []


def test_a_deadline_already_past_comes_with_the_next_tick() -> None:
    wheel: Wheel[str] = Wheel(0.25, slots=4, start=100.0)
    wheel.add(3.0, "a")
    assert wheel.advance(100.2) == []
    assert wheel.advance(100.25) == ["a"]


def test_a_deadline_beyond_a_turn_goes_round() -> None:
    wheel: Wheel[str] = Wheel(1.0, slots=4)
    wheel.add(10.5, "far")
    early = [item for second in range(1, 11) for item in wheel.advance(float(second))]
    assert early == []
    assert len(wheel) == 1
    assert wheel.advance(11.0) == ["far"]
    assert len(wheel) == 0


def test_after_a_stall_of_many_turns_everything_due_comes_at_once() -> None:
    wheel: Wheel[int] = Wheel(1.0, slots=4)
    for deadline in range(0, 40, 3):
        wheel.add(float(deadline), deadline)
    assert sorted(wheel.advance(31.0)) == list(range(0, 31, 3))
    assert sorted(wheel.advance(41.0)) == list(range(33, 40, 3))


def test_a_stall_of_years_costs_no_more_than_a_turn() -> None:
    wheel: Wheel[str] = Wheel(0.001, slots=16)
    wheel.add(5.0, "a")
    before = time.perf_counter()
    assert wheel.advance(1e9) == ["a"]
    assert time.perf_counter() - before < 0.05


def test_an_item_may_be_added_again_while_going_through_the_due_ones() -> None:
    wheel: Wheel[str] = Wheel(1.0, slots=4)
    wheel.add(0.5, "a")
    for item in wheel.advance(1.0):
        wheel.add(1.0, item)
    assert wheel.advance(2.0) == ["a"]


def test_an_owner_that_is_heard_all_the_time_is_looked_at_once_per_time_out() -> None:
    @dataclass
    class Connection:
        deadline: float

    wheel: Wheel[Connection] = Wheel(1.0, slots=8)
    connection, looks, now = Connection(5.0), 0, 0.0
    wheel.add(connection.deadline, connection)
    while now < 50.0:
        now += 0.5
        connection.deadline = now + 5.0
        for due in wheel.advance(now):
            looks += 1
            wheel.add(due.deadline, due)
    assert 8 <= looks <= 10
    assert len(wheel) == 1


def test_an_entry_costs_one_place_in_a_list() -> None:
    wheel: Wheel[None] = Wheel(1.0, slots=2)
    for _ in range(10_000):
        wheel.add(0.5, None)
    assert sys.getsizeof(wheel.advance(1.0)) < 10_000 * 9 + 200


@pytest.mark.parametrize(("tick", "slots"), [(0.0, 8), (1.0, 0)])
def test_a_wheel_that_cannot_turn_is_refused(tick: float, slots: int) -> None:
    with pytest.raises(ValueError, match="cannot turn"):
        Wheel(tick, slots)


STEPS = st.lists(st.tuples(st.floats(0, 4), st.lists(st.floats(-1, 12), max_size=4)), max_size=40)


@given(st.sampled_from([0.1, 0.25, 1 / 3, 1.0]), st.integers(1, 20), st.sampled_from([0.0, 12_345.6]), STEPS)
def test_it_agrees_with_a_sorted_list(
    tick: float, slots: int, start: float, steps: list[tuple[float, list[float]]]
) -> None:
    """Never early; and once a deadline (or the adding, if later) is a tick ago, the item has come."""
    wheel: Wheel[tuple[float, int]] = Wheel(tick, slots, start)
    waiting: list[tuple[float, float, int]] = []
    now, number = start, 0
    for pause, delays in steps:
        now += pause
        due = wheel.advance(now)
        assert all(deadline < now for deadline, _ in due)
        came = {number for _, number in due}
        waiting = [entry for entry in waiting if entry[2] not in came]
        assert all(latest > now for latest, _, _ in waiting)
        assert len(wheel) == len(waiting)
        for delay in delays:
            number += 1
            deadline = now + delay
            wheel.add(deadline, (deadline, number))
            waiting.append((max(deadline, now) + tick + 1e-9, deadline, number))
            waiting.sort()
