from __future__ import annotations

from typing import Any

import pytest

from loadtest.c1000k.page import page
from loadtest.c1000k.report import GOALS, failures, figures, memory_each, missed

FIELDS = [
    "commit",
    "connections",
    "lost",
    "repeats",
    "order_errors",
    "logins_per_second",
    "gateway_bytes_per_connection",
    "session_bytes_per_connection",
    "kernel_bytes_per_connection",
    "memory_total_bytes",
    "heartbeats_answered",
    "broadcast_seconds",
    "unicast_p99_ms",
    "loop_lag_p999_ms",
    "gc_pause_max_ms",
    "cpu_percent_holding",
    "reconnect_seconds",
]


def sample(at: float, phase: str, rss: float, kernel: int, lag: float, **counts: int) -> dict[str, Any]:
    held = {"rss": rss, "cpu": at, "pid": 1.0, "pss": rss / 2}
    lags = {"lag_p99.9": lag, "gc": lag * 2}
    return {
        "at": at,
        "phase": phase,
        "here": 100,
        "counts": counts,
        "machine": {"busy": at, "idle": at, "kernel": kernel, "available": 1_000},
        "processes": {"gateway-0": held | lags, "gateway-1": held, "session-0": held, "flock-0": held},
    }


def made(**last: int) -> dict[str, Any]:
    """Give a run of 100 connections in which all went well but for what `last` counts at the end."""
    names = ("connect", "hold", "broadcast", "rooms", "unicasts", "storm", "death", "end")
    limit = {"who": "none", "why": "time left"}
    common = {"counts": {"pongs": 500}, "times": {}, "limit": limit, "whole": True, "seconds": 2.0}
    phases: dict[str, Any] = {
        name: common | {"from": 200.0 * number, "to": 200.0 * number + 200}
        for number, name in enumerate(names)
    }
    phases["connect"]["logins_per_second"] = 3_500.4
    summary = {"count": 9, "p50": 1.0, "p99": 42.0, "p99.9": 50.0, "max": 60.0}
    phases["hold"] |= {
        "alive": 100,
        "busy": 0.25,
        "times": {"unicast": summary},
        "memory": sample(400, "hold", 1_100_000, 900_000, 7),
        "cores": {"gateway-0": 0.5},
    }
    phases["broadcast"] |= {"missing": 0}
    phases["death"] |= {"gone": 50, "presence": 20.0, "right": True}
    phases["end"] |= {"behind": 0}
    samples = [
        sample(100, "connect", 500_000, 300_000, 900),
        sample(210, "hold", 1_000_000, 800_000, 800),
        sample(300, "hold", 1_000_000, 800_000, 33),
        sample(450, "broadcast", 1_000_000, 800_000, 700),
        sample(1_590, "end", 1_000_000, 800_000, 600, unicasts=9, pongs=500, **last),
    ]
    return {
        "began": "2026-01-01 00:00",
        "machine": {
            "commit": "abc1234",
            "changed_files": 0,
            "cores": 2,
            "ram_mib": 24_000,
            "kernel": "6",
            "python": "3.11",
            "load": [0.0, 0.0, 0.0],
        },
        "commit": "abc1234",
        "connections": 100,
        "phases": phases,
        "samples": samples,
        "base": sample(0, "start", 100_000, 100_000, 0),
        "sent_unicasts": 9,
        "errors": {},
    }


def test_the_report_has_exactly_the_agreed_fields_in_their_order() -> None:
    assert list(figures(made())) == FIELDS
    assert set(GOALS) < set(FIELDS)


def test_each_figure_is_taken_from_its_phase() -> None:
    report = figures(made())
    assert report["connections"] == 100
    assert report["logins_per_second"] == 3_500
    assert report["gateway_bytes_per_connection"] == 2 * 1_000_000 / 100
    assert report["session_bytes_per_connection"] == 1_000_000 / 100
    assert report["kernel_bytes_per_connection"] == 800_000 / 100
    assert report["memory_total_bytes"] == 4 * 550_000 + 800_000
    assert report["heartbeats_answered"] == 500
    assert report["unicast_p99_ms"] == 42.0
    assert report["cpu_percent_holding"] == 25.0


def test_lateness_is_that_of_the_hold_once_logins_are_out_of_its_minute() -> None:
    assert figures(made())["loop_lag_p999_ms"] == 33


LOSSES: dict[str, dict[str, int]] = {
    "a connection closed": {"closed": 1},
    "one given up": {"given_up": 1},
    "a message missing": {"missing": 1},
}


@pytest.mark.parametrize("name", LOSSES)
def test_any_loss_is_in_the_report_and_fails_the_run(name: str) -> None:
    run = made(**LOSSES[name])
    report = figures(run)
    assert report["lost"] == 1
    assert len(failures(report, run)) == 1


def test_what_is_missing_by_number_at_the_end_is_lost() -> None:
    run = made()
    run["sent_unicasts"] = 11
    run["phases"]["end"]["behind"] = 3
    run["phases"]["broadcast"]["missing"] = 4
    assert figures(run)["lost"] == 9


def test_a_run_in_which_all_went_well_fails_nothing_whatever_its_goals() -> None:
    run = made()
    report = figures(run)
    assert failures(report, run) == []
    assert "logins_per_second is 2000, goal ≥ 3000" in missed(report | {"logins_per_second": 2_000}, run)


BREACHES: dict[str, tuple[dict[str, int], str]] = {
    "twice": ({"repeats": 2}, "2 repeats"),
    "out of order": ({"order_errors": 1}, "1 order_errors"),
    "no answer": ({"unanswered": 5}, "5 heartbeats unanswered"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_what_must_not_be_fails_the_run_in_words(name: str) -> None:
    counts, words = BREACHES[name]
    run = made(**counts)
    assert failures(figures(run), run) == [words]


def test_the_page_needs_nothing_from_elsewhere() -> None:
    run = made(closed=1)
    text = page(run, figures(run))
    assert not any(word in text for word in ("http://", "https://", "src=", "@import", "<script"))
    assert text.count("<svg") == 8
    assert "1 connections closed" in text
    assert all(f"<td>{name}" in text for name in FIELDS)
    assert set(memory_each(run)) == {"gateway", "session", "flock", "kernel"}
