"""`make growth` with 200 and 400 connections on real clusters: everything but the sizes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from common.settings import ROOT

HOW = {
    "room_size": 50,
    "ping_every": 0.8,
    "idle": 0.5,
    "settle": 0.3,
    "hold": 1,
    "rush": 1,
    "rush_messages": 40,
    "sample": 1,
}


def test_costs_are_told_at_each_size_and_nothing_is_lost(tmp_path: Path) -> None:
    words = ["200", "400", *(f"{name}={value}" for name, value in HOW.items())]
    words += ["--per-gateway", "200", "--tolerance", "100", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.growth", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(size["connections"], size["gateways"]) for size in report["sizes"]] == [(200, 1), (400, 2)]
    for size in report["sizes"]:
        assert size["gateway_bytes_per_connection"] > 0
        assert size["cpu_us_per_login"] > 0
    assert report["wrong"] == []
    assert (tmp_path / "growth.svg").read_text().startswith("<svg ")
    assert "| CPU µs per delivery |" in (tmp_path / "report.md").read_text()
