"""The torture test for one minute, the same code as `make torture`; docs/testing.md tells what it does."""

from __future__ import annotations

from pathlib import Path

from loadtest.torture.plan import Plan
from loadtest.torture.report import markdown
from loadtest.torture.run import Run


def test_kept_messages_survive_a_minute_in_which_everything_is_killed(tmp_path: Path) -> None:
    figures = Run(Plan(folder=str(tmp_path / "torture"), seconds=60), print).carry_out()
    assert figures["passed"], markdown(figures)
