"""What a run must keep to, judged from locust's statistics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from locust.stats import RequestStats

from loadtest.feeding import METHOD, OWN, fail
from loadtest.scenarios.thresholds import Finding, judge, limits

BOUNDS = {
    "max_p99": "delivery=100",
    "max_lost": 0,
    "max_order_errors": 0,
    "max_repeats": 0,
    "max_error_share": 0.0,
}


def heard(milliseconds: int = 5, count: int = 100) -> RequestStats:
    stats = RequestStats()
    for _ in range(count):
        stats.log_request(METHOD, "delivery", milliseconds, 0)
    return stats


def broken(stats: RequestStats, exceptions: int = 0, **bounds: Any) -> list[Finding]:
    findings = judge(stats, exceptions, SimpleNamespace(**(BOUNDS | bounds)))
    return [finding for finding in findings if not finding.kept]


def test_a_run_in_which_all_was_heard_in_time_keeps_everything() -> None:
    assert broken(heard()) == []


BREACHES = {
    "missing": "lost",
    "unanswered": "lost",
    "given_up": "lost",
    "unheard": "lost",
    "order_errors": "order errors",
    "repeats": "repeats",
    "closed by the server": "error share",
}


@pytest.mark.parametrize("words", BREACHES)
def test_one_failure_of_each_kind_breaks_its_threshold_and_no_other(words: str) -> None:
    stats = heard()
    fail(stats, "any", words, 1)
    assert [finding.what for finding in broken(stats)] == [BREACHES[words]]


def test_failures_within_the_bounds_are_no_breach() -> None:
    stats = heard()
    fail(stats, "order", "missing", 2)
    fail(stats, "push", "503 busy", 1)
    assert broken(stats, max_lost=2, max_error_share=0.01) == []
    assert [finding.what for finding in broken(stats, max_lost=1, max_error_share=0.009)] == [
        "lost",
        "error share",
    ]


def test_what_took_too_long_is_a_breach_and_says_how_much_of_it_was_the_load_client() -> None:
    stats = heard(milliseconds=200)
    stats.log_request(OWN, "lag", 150, 0)
    (finding,) = broken(stats)
    assert (finding.what, finding.value) == ("delivery p99 ms", 200)
    assert "150 ms late" in str(finding)


def test_a_run_that_measured_nothing_has_kept_nothing() -> None:
    (finding,) = broken(RequestStats())
    assert "nothing was measured" in str(finding)


def test_a_crash_of_the_load_client_is_a_breach() -> None:
    assert [finding.what for finding in broken(heard(), exceptions=1)] == ["crashes of the load client"]


def test_limits_are_read_by_row() -> None:
    assert limits("delivery=250, login=5e3") == {"delivery": 250, "login": 5000}


@pytest.mark.parametrize("text", ["delivery", "=5", "delivery=fast", "delivery=1;login=2"])
def test_limits_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        limits(text)
