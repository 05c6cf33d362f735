"""From the reports of a flock into locust's statistics: whole histograms, not one event each.

Twenty thousand deliveries a second as single events would keep locust itself busy. What a flock
counted in a second becomes one entry, added as a master adds what its workers send; so
page, headless summary, CSV files and distributed workers all show it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from locust.stats import RequestStats, StatsEntry, bucket_response_time

from loadtest.flock.histogram import microseconds_of

METHOD = "flock"
OWN = "client"
"""What is no answer of the server: the flock's own lateness."""
BREACHES = ("missing", "repeats", "order_errors", "unanswered", "given_up")
"""Counts that must stay 0."""


class Feed:
    """The statistics of one environment.

    Args:
        stats: locust's.
    """

    def __init__(self, stats: RequestStats) -> None:
        self._stats = stats

    def take(self, before: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        """Add what is new in a report of a flock.

        Args:
            before: the last report of the same flock; {} at first.
        """
        now = time.time()
        for name, taken in report["times"].items():
            entry = self._entry(name, taken, now)
            self._stats.entries[(name, entry.method)].extend(entry)
            if entry.method == METHOD:
                self._stats.total.extend(entry)
        for words, count in _grown(before, report, "errors").items():
            fail(self._stats, "lost", words, count)
        counts = _grown(before, report, "counts")
        for name in BREACHES:
            row = "order" if name != "unanswered" else "heartbeat"
            fail(self._stats, row, name, counts.get(name, 0))

    def _entry(self, name: str, taken: Mapping[str, int], now: float) -> StatsEntry:
        entry = StatsEntry(self._stats, name, OWN if name == "lag" else METHOD)
        for bucket, count in taken.items():
            milliseconds = microseconds_of(int(bucket)) / 1000
            entry.response_times[bucket_response_time(milliseconds)] += count
            entry.num_requests += count
            entry.total_response_time += round(milliseconds * count)
        times = [round(microseconds_of(int(bucket)) / 1000) for bucket in taken]
        entry.min_response_time, entry.max_response_time = min(times), max(times)
        entry.last_request_timestamp = now
        entry.num_reqs_per_sec[int(now)] = entry.num_requests
        return entry


def fail(stats: RequestStats, row: str, words: str, count: int) -> None:
    """Count so many failures of a row."""
    for _ in range(count):
        stats.log_error(METHOD, row, words)


def _grown(before: Mapping[str, Any], report: Mapping[str, Any], part: str) -> dict[str, int]:
    known = before.get(part, {})
    return {name: count - known.get(name, 0) for name, count in report[part].items()}
