from __future__ import annotations

import gc
import time

import gevent
import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.net.exposition import render
from common.net.metrics import Metrics
from common.net.pulse import EVERY, GC_THRESHOLDS, Lag, Pauses, Pulse, freeze_heap


def test_lag_before_the_first_measurement_is_zero():
    assert Lag().milliseconds() == {"p50": 0, "p99": 0, "p99.9": 0, "max": 0}


def test_percentiles_are_of_what_was_added():
    lag = Lag(every=1.0, window=1000)
    for late_ms in range(1000):
        lag.add(late_ms / 1000)
    assert lag.milliseconds() == {"p50": 500, "p99": 989, "p99.9": 998, "max": 999}


def test_a_standstill_counts_for_every_call_it_made_late():
    lag = Lag(every=0.25, window=10)
    lag.add(1.0)
    assert list(lag._late[:6]) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert lag.milliseconds()["p50"] == 500


def test_a_standstill_longer_than_the_window_fills_it_once():
    lag = Lag(every=0.5, window=2)
    lag.add(1_000_000)
    assert lag.milliseconds()["max"] == 1_000_000_000
    assert len(lag._late) == 4


def test_what_is_older_than_the_window_is_forgotten():
    lag = Lag(every=1.0, window=5)
    lag.add(0.9)
    for _ in range(5):
        lag.add(0.1)
    assert lag.milliseconds()["max"] == 100


def test_a_call_that_came_early_is_not_negative():
    lag = Lag()
    lag.add(-0.001)
    assert lag.milliseconds()["max"] == 0


def test_pauses_measures_from_start_to_stop():
    now = iter([10.0, 10.5, 20.0, 20.25])
    pauses = Pauses(lambda: next(now))
    for phase in ("start", "stop", "start", "stop"):
        pauses(phase, {})
    assert (pauses.count, pauses.total_ms, pauses.max_ms) == (2, 750, 500)


def test_pauses_of_the_start_can_be_forgotten():
    now = iter([0.0, 0.5, 10.0, 10.25])
    pauses = Pauses(lambda: next(now))
    for phase in ("start", "stop"):
        pauses(phase, {})
    pauses.clear()
    for phase in ("start", "stop"):
        pauses(phase, {})
    assert (pauses.count, pauses.total_ms, pauses.max_ms) == (1, 250, 250)


def test_pauses_put_in_during_a_collection_ignores_its_end():
    pauses = Pauses()
    pauses("stop", {})
    assert pauses.count == 0


@pytest.fixture
def pulse():
    pulse = Pulse()
    pulse.start()
    yield pulse
    pulse.stop()


def test_a_loop_that_is_blocked_shows_as_late(pulse: Pulse):
    until = time.monotonic() + 0.17
    while time.monotonic() < until:
        pass
    for _ in range(3):
        gevent.sleep(0.005)
    assert 60 <= pulse.lag.milliseconds()["max"] < 1000


def test_the_loop_is_asked_ten_times_a_second_and_not_more_often(pulse: Pulse):
    began = time.monotonic()
    for _ in range(6):
        gevent.sleep(0.04)
    turns = (time.monotonic() - began) / EVERY
    assert 1 <= pulse.lag._filled <= turns + 1


def test_collections_are_counted_between_start_and_stop(pulse: Pulse):
    gc.collect()
    counted = pulse.pauses.count
    assert counted >= 1
    pulse.stop()
    gc.collect()
    assert pulse.pauses.count == counted
    assert pulse.pauses not in gc.callbacks


def test_start_and_stop_may_be_repeated(pulse: Pulse):
    pulse.start()
    assert gc.callbacks.count(pulse.pauses) == 1
    pulse.stop()
    pulse.stop()
    pulse.start()


def test_all_is_among_the_metrics(pulse: Pulse):
    metrics = Metrics("gateway-0")
    pulse.expose(metrics)
    page = render({"gateway-0": metrics.families()}).decode()
    names = {family.name for family in text_string_to_metric_families(page)}
    assert "roost_loop_watchers" in names
    assert {"roost_loop_lag_ms", "roost_gc_pauses", "roost_gc_pause_ms_sum", "roost_gc_pause_ms_max"} <= names
    assert 'quantile="p99.9"' in page


def test_freezing_the_heap_takes_what_lives_out_of_collections():
    before = gc.get_threshold()
    try:
        freeze_heap()
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() == GC_THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
