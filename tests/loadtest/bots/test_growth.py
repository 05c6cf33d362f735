from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.bots import growth


def found(bots: int, **more: Any) -> dict[str, Any]:
    return {
        "bots": bots,
        "here": bots,
        "in_view_mean": 30.5,
        "tick_p99_ms": 20.0,
        "overruns": 0,
        "input_to_state_p99_ms": 120.0,
        "cpu": {"world-0": 0.25, "gateway-0": 0.1, "gateway-1": 0.15},
        "inputs_per_second": 120.0,
        "looks": 400,
        "compared": 4_000,
        "wrong": 0,
        "examples": [],
        "errors": {},
        "bots_lag_p99_ms": 3.0,
        "seconds": 20.0,
    } | more


def test_a_good_run_leaves_a_report_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(counts: Any, seconds: float) -> list[dict[str, Any]]:
        asked.append((list(counts), seconds))
        return [found(count) for count in counts]

    monkeypatch.setattr(growth, "run", run)
    assert growth.main(["10", "1500", "--seconds", "3", "--out", str(tmp_path)]) == 0
    assert asked == [([10, 1_500], 3.0)]
    report = (tmp_path / "report.md").read_text()
    assert "| bots | 10 | 1,500 |" in report
    assert "| processors, gateway | 0.25 | 0.25 |" in report
    assert "All within their bounds." in report
    assert json.loads((tmp_path / "report.json").read_text())["failures"] == []
    for name in ("times.svg", "cpu.svg"):
        assert (tmp_path / name).read_text().startswith("<svg ")


BAD = {
    "one stayed away": ({"here": 1_999}, "1,999 here"),
    "one was told what is not so": ({"wrong": 2}, "2 wrong"),
    "few in view": ({"in_view_mean": 14.9}, "others in view"),
    "ticks were late": ({"tick_p99_ms": 100.1}, "tick, scheduled start"),
    "ticks were skipped": ({"overruns": 1}, "ticks skipped: 1"),
    "inputs took long": ({"input_to_state_p99_ms": 251}, "input to state"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_what_is_beyond_a_bound_at_the_largest_size_is_said(change: dict[str, Any], words: str) -> None:
    said = growth.failures([found(100), found(2_000, **change)])
    assert len(said) == 1
    assert words in said[0]


def test_figures_of_smaller_sizes_have_no_bounds_but_the_truth() -> None:
    assert growth.failures([found(100, in_view_mean=3.0), found(2_000)]) == []
    assert growth.failures([found(100, wrong=1), found(2_000)])
