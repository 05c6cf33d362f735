from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.limits import RateTable, TokenBucket

STEPS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 30)), max_size=60)


def test_a_new_bucket_gives_its_burst_and_then_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(100.0) == pytest.approx(0.1)


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    bucket.take(0.0)
    assert [bucket.take(0.5) for _ in range(5)] == [pytest.approx(0.5)] * 5
    assert bucket.take(1.0) == 0.0


def test_more_than_the_burst_is_allowed_when_full_and_owed_afterwards() -> None:
    bucket = TokenBucket(rate=10, burst=10)
    assert bucket.take(0.0, 40) == 0.0
    assert bucket.take(0.0, 1) == pytest.approx(3.1)
    assert not bucket.is_idle(3.9)
    assert bucket.is_idle(4.0)


def test_a_full_bucket_does_not_gather_more_than_its_burst() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    bucket.take(0.0)
    assert [bucket.take(1_000.0) > 0 for _ in range(3)] == [False, False, True]


@given(st.floats(0.1, 1_000), st.floats(1, 100), STEPS)
def test_what_is_taken_never_exceeds_burst_and_rate(
    rate: float, burst: float, steps: list[tuple[float, int]]
) -> None:
    bucket, now, taken = TokenBucket(rate, burst), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if amount <= burst and bucket.take(now, amount) == 0.0:
            taken += amount
        assert taken <= (burst + rate * now) * (1 + 1e-6)


@given(st.floats(0.1, 1_000), st.floats(1, 100), STEPS)
def test_who_waits_as_told_is_let_through(rate: float, burst: float, steps: list[tuple[float, int]]) -> None:
    bucket, now = TokenBucket(rate, burst), 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.take(now, amount)
        if wait:
            now += wait
            assert bucket.take(now, amount) == 0.0


@given(st.lists(st.tuples(st.floats(0, 2), st.sampled_from("abcde"), st.integers(1, 4)), max_size=80))
def test_a_table_answers_like_a_bucket_for_each_key(steps: list[tuple[float, str, int]]) -> None:
    table, buckets, now = RateTable(2, 3, items=100), {key: TokenBucket(2, 3) for key in "abcde"}, 0.0
    for pause, key, amount in steps:
        now += pause
        assert table.take(key, now, amount) == pytest.approx(buckets[key].take(now, amount))
    assert table.forgotten == 0


def test_a_table_drops_buckets_that_are_full_again() -> None:
    table = RateTable(rate=1, burst=5)
    for index in range(1_000):
        table.take(index, 0.0)
    table.take("later", 2.0)
    table.take("later", 8.0)
    table.take("later", 20.0)
    assert len(table) <= 2


def test_a_table_never_holds_more_than_its_items_and_counts_what_it_forgot() -> None:
    table = RateTable(rate=0.001, burst=1, items=10)
    for index in range(100):
        assert table.take(index, 0.0) == 0.0
        assert len(table) <= 10
    assert table.take(99, 0.0) > 0
    assert table.take(0, 0.0) == 0.0
    assert table.forgotten >= 85


def test_a_refused_key_costs_no_entry() -> None:
    table = RateTable(rate=1, burst=1, items=10)
    table.take("a", 0.0)
    held = len(table)
    assert all(table.take("a", 0.1) > 0 for _ in range(10))
    assert len(table) == held
