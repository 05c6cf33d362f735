from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.flock.histogram import LONGEST, Histogram, bucket_of, microseconds_of


@given(st.integers(0, LONGEST))
def test_a_bucket_stands_for_a_time_within_one_in_64(time: int) -> None:
    assert abs(microseconds_of(bucket_of(time)) - time) <= time / 64


@given(st.integers(0, LONGEST - 1))
def test_buckets_follow_each_other_without_a_hole(time: int) -> None:
    assert 0 <= bucket_of(time + 1) - bucket_of(time) <= 1


@pytest.mark.parametrize(
    ("time", "bucket"), {"before": (-5, 0), "beyond": (10**12, bucket_of(LONGEST))}.values()
)
def test_a_time_out_of_range_counts_as_the_nearest(time: int, bucket: int) -> None:
    assert bucket_of(time) == bucket


def test_percentiles_are_those_of_all_that_was_added() -> None:
    whole = Histogram()
    for first in (0, 50):
        part = Histogram()
        for milliseconds in range(first + 1, first + 51):
            part.record(milliseconds * 1000)
        whole.add(part.take())
        assert part.total == 0
    assert whole.total == 100
    assert whole.milliseconds(0.5) == pytest.approx(50, rel=1 / 64)
    assert whole.milliseconds(0.99) == pytest.approx(99, rel=1 / 64)
    assert whole.summary()["max"] == pytest.approx(100, rel=1 / 64)


def test_an_empty_one_has_zeros() -> None:
    assert Histogram().summary() == {"count": 0, "p50": 0.0, "p99": 0.0, "p99.9": 0.0, "max": 0.0}
