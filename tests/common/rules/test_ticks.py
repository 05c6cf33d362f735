from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.ticks import LONGEST_STEP, Schedule, next_due

TURNS = {
    "in time": (10.1, 11.0),
    "late, inside the turn": (10.9, 11.0),
    "exactly": (11.0, 12.0),
    "one missed": (11.5, 12.0),
    "far too late": (100.25, 101.0),
    "early": (9.0, 11.0),
}


@pytest.mark.parametrize("now, due", TURNS.values(), ids=TURNS)
def test_the_next_turn_keeps_the_phase_and_skips_what_was_missed(now: float, due: float) -> None:
    assert next_due(10.0, 1.0, now) == due


def test_a_tick_in_time_is_followed_by_the_next_one() -> None:
    schedule = Schedule(10, 100.0)
    assert schedule.wait(100.0) == pytest.approx(0.1)
    assert schedule.done(100.12) == 0
    assert schedule.tick == 2
    assert schedule.step == pytest.approx(0.1)
    assert schedule.wait(100.12) == pytest.approx(0.08)


def test_a_tick_that_overran_skips_those_due_meanwhile_and_the_next_simulates_their_time() -> None:
    schedule = Schedule(10, 100.0)
    assert schedule.done(100.35) == 2
    assert schedule.tick == 4
    assert schedule.step == pytest.approx(0.3)
    assert schedule.due == pytest.approx(100.4)
    assert schedule.done(100.41) == 0
    assert schedule.step == pytest.approx(0.1)


def test_after_a_standstill_the_world_goes_on_and_does_not_leap() -> None:
    schedule = Schedule(10, 100.0)
    assert schedule.done(130.0) == pytest.approx(299, abs=1)
    assert schedule.step == pytest.approx(LONGEST_STEP * 0.1)


def test_a_schedule_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="0 ticks"):
        Schedule(0, 100.0)


@given(st.lists(st.floats(0, 0.5), max_size=50))
def test_a_ticks_number_is_its_place_on_the_beat(spent: list[float]) -> None:
    schedule, now, run, skipped = Schedule(20, 50.0), 50.0, 0, 0
    for seconds in spent:
        now += schedule.wait(now)
        assert now >= schedule.due - 1e-9
        run += 1
        now += seconds
        skipped += schedule.done(now)
        assert schedule.due > now - 1e-9
    assert schedule.tick == run + skipped + 1
    assert schedule.due == pytest.approx(50.0 + schedule.tick / 20)
