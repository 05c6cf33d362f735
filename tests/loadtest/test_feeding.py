"""From reports of a flock into locust's statistics."""

from __future__ import annotations

from typing import Any

import pytest
from locust.stats import RequestStats

from loadtest.feeding import Feed
from loadtest.flock.histogram import Histogram


def report(times: dict[str, list[int]], **parts: dict[str, int]) -> dict[str, Any]:
    taken = {}
    for name, milliseconds in times.items():
        histogram = Histogram()
        for one in milliseconds:
            histogram.record(one * 1000)
        taken[name] = histogram.take()
    return {"times": taken, "counts": parts.get("counts", {}), "errors": parts.get("errors", {})}


def test_a_whole_histogram_becomes_what_single_requests_would_have_become() -> None:
    stats = RequestStats()
    feed = Feed(stats)
    feed.take({}, report({"delivery": [4] * 98 + [50, 200]}))
    feed.take({}, report({"delivery": [4] * 100}))
    entry = stats.get("delivery", "flock")
    assert (entry.num_requests, entry.min_response_time, entry.max_response_time) == (200, 4, 200)
    assert entry.median_response_time == 4
    assert entry.get_response_time_percentile(0.99) == 50
    assert entry.avg_response_time == pytest.approx((198 * 4 + 250) / 200, rel=0.02)
    assert stats.total.num_requests == 200


def test_the_flocks_own_lateness_is_a_row_but_no_request_of_the_total() -> None:
    stats = RequestStats()
    Feed(stats).take({}, report({"lag": [1, 2]}))
    assert stats.get("lag", "client").num_requests == 2
    assert stats.total.num_requests == 0


def test_only_what_is_new_since_the_last_report_is_a_failure() -> None:
    stats = RequestStats()
    feed = Feed(stats)
    first = report({}, counts={"missing": 2, "messages": 9}, errors={"closed by the server": 1})
    second = report({}, counts={"missing": 3, "messages": 9}, errors={"closed by the server": 1})
    feed.take({}, first)
    feed.take(first, second)
    told = {(error.name, error.error): error.occurrences for error in stats.errors.values()}
    assert told == {("order", "missing"): 3, ("lost", "closed by the server"): 1}
    assert stats.total.num_failures == 4
