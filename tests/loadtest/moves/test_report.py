from __future__ import annotations

from collections import Counter
from typing import Any

from loadtest.flock.histogram import Histogram
from loadtest.moves import report
from loadtest.moves.judge import Verdict
from loadtest.moves.plan import Plan

MACHINE = {"commit": "abc", "changed_files": 0, "cores": 2, "ram_mib": 2048, "kernel": "6", "python": "3.11"}


def figures(verdict: Verdict) -> dict[str, Any]:
    took = Histogram()
    took.record(12_000)
    counts = Counter({"told away": 4})
    return report.gather(
        Plan(players=3, moves=2), verdict, {"world": 5}, counts, {"move": took, "back": took}, MACHINE, 9.0
    )


def test_a_page_says_what_was_done_and_that_all_held() -> None:
    page = report.markdown(figures(Verdict(players=3, moves=7)))
    assert page.startswith("# Moves between two maps while processes are killed: passed")
    for row in ("| moves | 7 in 9 s |", "| lost | 0 |", "| killed | world 5, session 0, dbserver 0 |"):
        assert row in page
    assert "| told away | 4 |" in page


def test_a_page_of_a_run_that_failed_says_why() -> None:
    verdict = Verdict(players=3)
    verdict.blame("lost", "ann, item 3")
    page = report.markdown(figures(verdict))
    assert "FAILED" in page
    assert "* lost: ann, item 3" in page
