"""When to come back."""

from __future__ import annotations

from roost_client.retry import RetryPlan


def test_the_delay_grows_with_each_attempt_up_to_the_longest() -> None:
    plan = RetryPlan(0.5, 2.0, 20.0)
    delays = [plan.delay(attempt, lambda: 1.0) for attempt in range(8)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0]


def test_the_delay_is_a_random_share() -> None:
    assert RetryPlan(0.5, 2.0, 20.0).delay(2, lambda: 0.25) == 0.5


def test_a_huge_attempt_stays_at_the_longest() -> None:
    assert RetryPlan().delay(10**6, lambda: 1.0) == 20.0
    assert RetryPlan(0.5, 1e300, 20.0).delay(2, lambda: 1.0) == 20.0, "too large for a float"


def test_the_welcome_gives_the_plan_and_what_it_leaves_out_stays() -> None:
    mine = RetryPlan(1.0, 3.0, 9.0)
    assert RetryPlan.from_welcome({"base": 2, "max": 7}, mine) == RetryPlan(2.0, 3.0, 7.0)
    assert RetryPlan.from_welcome(None, mine) == mine
