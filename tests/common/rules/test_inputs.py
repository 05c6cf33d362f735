from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from common.rules.inputs import Inputs


def offered(count: int, limit: int = 8) -> Inputs:
    inputs = Inputs(limit)
    for number in range(1, count + 1):
        inputs.offer(number, f"i{number}")
    return inputs


def test_a_tick_takes_so_many_and_the_rest_waits() -> None:
    inputs = offered(5)
    assert list(inputs.take(3)) == [(1, "i1"), (2, "i2"), (3, "i3")]
    assert len(inputs) == 2
    assert list(inputs.take(3)) == [(4, "i4"), (5, "i5")]


def test_a_flood_is_dropped_and_flagged_until_the_queue_is_empty() -> None:
    inputs = offered(8)
    assert not inputs.flooding
    assert inputs.offer(9, "x") is False
    assert (inputs.flooding, inputs.dropped, len(inputs)) == (True, 1, 8)
    list(inputs.take(7))
    assert inputs.flooding
    list(inputs.take(7))
    assert not inputs.flooding
    assert inputs.dropped == 1


def test_a_repeat_is_not_applied_again() -> None:
    inputs = offered(3)
    list(inputs.take(3))
    assert inputs.offer(3, "again") is True
    assert inputs.offer(1, "again") is True
    assert len(inputs) == 0
    assert inputs.offer(4, "new") is True
    assert list(inputs.take(3)) == [(4, "new")]


def test_zero_is_a_number_like_any_other() -> None:
    inputs = Inputs(4)
    inputs.offer(0, "first")
    assert list(inputs.take(4)) == [(0, "first")]


@given(st.lists(st.one_of(st.integers(0, 30), st.just("take")), max_size=100))
def test_each_input_comes_once_in_order_and_never_too_many_wait(steps: list[int | str]) -> None:
    inputs, taken, accepted = Inputs(3), [], []
    for step in steps:
        if isinstance(step, str):
            taken += [number for number, _ in inputs.take(2)]
        else:
            before = inputs.newest
            if inputs.offer(step, None) and step > before:
                accepted.append(step)
        assert len(inputs) <= 3
    taken += [number for number, _ in inputs.take(3)]
    assert taken == accepted == sorted(set(accepted))
