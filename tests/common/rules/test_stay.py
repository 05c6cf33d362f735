from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.route import NO_INPUT
from common.rules.stay import (
    BACKOFF_MOST,
    DOUBT,
    ENTERING,
    GONE,
    IN,
    LEAVING,
    LINKDEAD,
    MOVING,
    Stay,
    backoff,
    next_save,
)

EVERY = 30.0


def stay_in(state: str) -> Stay:
    """Give a stay in a state, with input 5 applied."""
    stay = Stay("p/ann", "p/a/0.1", 30.0, EVERY)
    if state == ENTERING:
        return stay
    stay.claimed("world-0 a 1", 3, 7, 5, 100.0)
    if state == LINKDEAD:
        stay.lost(100.0)
    elif state in (LEAVING, MOVING, DOUBT):
        stay.freeze(state)
    elif state == GONE:
        stay.end("lost")
    return stay


def test_a_claimed_player_goes_on_from_its_record() -> None:
    stay = stay_in(IN)
    assert (stay.owner, stay.route_ver, stay.save_ver, stay.input) == ("world-0 a 1", 3, 7, 5)
    assert stay.live


def test_a_new_player_takes_input_nought() -> None:
    stay = Stay("p/ann", "p/a/0.1", 30.0, EVERY)
    stay.claimed("world-0 a 1", 1, 0, NO_INPUT, 0.0)
    assert stay.applies(0)
    assert not stay.applies(0)


def test_an_input_counts_once_and_only_upwards() -> None:
    stay = stay_in(IN)
    assert [stay.applies(number) for number in (5, 6, 6, 4, 9)] == [False, True, False, False, True]
    assert stay.input == 9


@pytest.mark.parametrize("state", [ENTERING, LEAVING, MOVING, DOUBT, GONE])
def test_no_input_counts_while_the_state_may_be_stored_already(state: str) -> None:
    stay = stay_in(state)
    before = stay.input
    assert not stay.applies(99)
    assert stay.input == before


def test_who_is_linkdead_leaves_after_its_time_and_not_before() -> None:
    stay = stay_in(LINKDEAD)
    assert not stay.expired(129.9)
    assert stay.expired(130.0)
    stay.back()
    assert stay.state == IN and not stay.expired(200.0)


def test_a_connection_that_is_lost_twice_does_not_win_time() -> None:
    stay = stay_in(LINKDEAD)
    stay.lost(120.0)
    assert stay.expired(130.0)


@pytest.mark.parametrize("state", [ENTERING, LEAVING, MOVING, DOUBT])
def test_a_connection_lost_meanwhile_makes_it_linkdead_when_it_goes_on(state: str) -> None:
    stay = stay_in(state)
    stay.lost(100.0)
    assert stay.state == state
    if state == ENTERING:
        stay.claimed("world-0 a 1", 3, 7, 5, 110.0)
    else:
        stay.thaw(110.0)
    assert stay.state == LINKDEAD
    assert stay.expired(130.0)


# state, what -> state and reason then; None: refused
STEPS = {
    "leave from in": (IN, "freeze leaving", LEAVING),
    "leave when linkdead": (LINKDEAD, "freeze leaving", LEAVING),
    "move from in": (IN, "freeze moving", MOVING),
    "move twice": (MOVING, "freeze moving", None),
    "leave while moving": (MOVING, "freeze leaving", None),
    "doubt about a moving one": (MOVING, "freeze doubt", DOUBT),
    "doubt about one that enters": (ENTERING, "freeze doubt", None),
    "freeze to something else": (IN, "freeze gone", None),
    "thaw": (LEAVING, "thaw", IN),
    "thaw what is not frozen": (IN, "thaw", None),
    "left": (LEAVING, "end left", GONE),
    "left in doubt": (DOUBT, "end left", GONE),
    "left without leaving": (IN, "end left", None),
    "moved": (MOVING, "end moved", GONE),
    "moved while leaving": (LEAVING, "end moved", None),
    "lost": (IN, "end lost", GONE),
    "lost while moving": (MOVING, "end lost", GONE),
    "an unknown end": (IN, "end eaten", None),
}


@pytest.mark.parametrize(("state", "step", "then"), STEPS.values(), ids=STEPS)
def test_steps(state: str, step: str, then: str | None) -> None:
    stay = stay_in(state)
    what, _, word = step.partition(" ")
    arguments = (100.0,) if what == "thaw" else (word,)
    if then is None:
        with pytest.raises(ValueError, match="a player"):
            getattr(stay, what)(*arguments)
        assert stay.state == state
    else:
        getattr(stay, what)(*arguments)
        assert stay.state == then


def test_each_save_has_a_higher_number_and_what_is_stored_is_not_saved_again() -> None:
    stay = stay_in(IN)
    first = stay.save(b"one")
    assert first is not None and first.save_ver == 8
    stay.stored(first, 100.0)
    assert stay.save(b"one") is None
    stay.applies(6)
    second = stay.save(b"one")
    assert second is not None and (second.save_ver, second.input) == (9, 6)


def test_a_save_nobody_confirmed_is_done_again_even_if_nothing_changed() -> None:
    stay = stay_in(IN)
    first = stay.save(b"one")
    assert first is not None
    stay.stored(first, 100.0)
    stay.applies(6)
    assert stay.save(b"two") is not None
    stay.unsaved(100.0)
    assert stay.save(b"one") is not None


def test_after_a_failure_it_is_due_soon_then_later_and_never_later_than_the_most() -> None:
    stay = stay_in(IN)
    waits = []
    for _ in range(12):
        stay.unsaved(100.0)
        waits.append(stay.save_at - 100.0)
    assert waits == sorted(waits)
    assert waits[0] < 1 < waits[-1] <= BACKOFF_MOST


@given(st.text(min_size=1), st.floats(0, 1e9), st.sampled_from([1.0, 30.0, 60.0]))
def test_saves_of_a_player_come_once_a_period_at_its_own_place_in_it(
    user: str, now: float, every: float
) -> None:
    at = next_save(user, now, every)
    assert every / 101 < at - now < every * 1.011
    assert abs(next_save(user, at, every) - at - every) < every * 1e-6 + 1e-5


def test_saves_of_many_players_are_spread_over_the_period() -> None:
    times = [next_save(f"p/u{number}", 0.0, 30.0) for number in range(3_000)]
    counts = [sum(slot <= at < slot + 1 for at in times) for slot in range(30)]
    assert min(counts) > 50 and max(counts) < 160


def test_retries_of_many_players_are_spread_too() -> None:
    assert len({round(backoff(f"p/u{number}", 3), 2) for number in range(100)}) > 50
