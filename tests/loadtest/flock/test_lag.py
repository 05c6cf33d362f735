from __future__ import annotations

from loadtest.flock.histogram import Histogram
from loadtest.flock.lag import BEAT, Lag


def test_a_beat_in_time_counts_little_and_one_too_early_not_at_all() -> None:
    counted = Histogram()
    lag = Lag(counted, 10.0)
    assert not lag.beat(10.0 + BEAT / 2)
    assert lag.beat(10.0 + BEAT + 0.001)
    assert counted.total == 1
    assert counted.milliseconds(1.0) < 1.1


def test_a_second_of_standing_still_counts_as_all_the_beats_it_swallowed() -> None:
    counted = Histogram()
    Lag(counted, 10.0).beat(11.0 + BEAT)
    assert counted.total >= round(1.0 / BEAT)
    assert 400 < counted.milliseconds(0.5) < 600
