from __future__ import annotations

import pytest

from common.errors import Unavailable
from common.net.breaker import Breaker


def test_a_closed_circuit_admits_everybody() -> None:
    breaker = Breaker("it", rest=1.0)
    for now in range(3):
        breaker.admit(now)
        breaker.succeeded()
    assert breaker.trips == 0


def test_after_a_failure_calls_are_refused_for_the_rest() -> None:
    breaker = Breaker("it", rest=1.0)
    breaker.admit(0.0)
    breaker.failed(0.0)
    with pytest.raises(Unavailable, match="it is away"):
        breaker.admit(0.99)


def test_after_the_rest_one_probe_is_admitted_and_its_success_closes() -> None:
    breaker = Breaker("it", rest=1.0)
    breaker.failed(0.0)
    breaker.admit(1.0)
    with pytest.raises(Unavailable):
        breaker.admit(1.0)
    breaker.succeeded()
    breaker.admit(1.0)
    breaker.admit(1.0)


def test_a_failed_probe_opens_the_circuit_again() -> None:
    breaker = Breaker("it", rest=1.0)
    breaker.failed(0.0)
    breaker.admit(1.0)
    breaker.failed(1.5)
    with pytest.raises(Unavailable):
        breaker.admit(2.4)
    breaker.admit(2.5)
    assert breaker.trips == 2


def test_a_probe_that_was_killed_leaves_the_place_to_the_next() -> None:
    breaker = Breaker("it", rest=1.0)
    breaker.failed(0.0)
    breaker.admit(1.0)
    breaker.abandoned()
    breaker.admit(1.0)


def test_with_patience_it_opens_at_that_many_failures_in_a_row_only():
    breaker = Breaker("it", rest=1.0, patience=3)
    for outcome in (
        breaker.failed,
        breaker.failed,
        lambda _: breaker.succeeded(),
        breaker.failed,
        breaker.failed,
    ):
        breaker.admit(0.0)
        outcome(0.0)
    breaker.admit(0.0)
    assert breaker.trips == 0
    breaker.failed(0.0)
    with pytest.raises(Unavailable):
        breaker.admit(0.5)
    assert breaker.trips == 1


def test_calls_that_were_under_way_when_it_opened_do_not_open_it_again_but_count_as_failures():
    breaker = Breaker("it", rest=1.0)
    for _ in range(5):
        breaker.admit(0.0)
    for _ in range(5):
        breaker.failed(0.0)
    assert (breaker.trips, breaker.failures) == (1, 5)
