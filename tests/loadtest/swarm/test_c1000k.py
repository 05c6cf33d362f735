"""The run of a million, with three hundred: every phase on a real cluster, in seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from common.settings import ROOT

CONNECTIONS, ROOMS = 300, 6
SIZE = {
    "connections": CONNECTIONS,
    "gateways": 2,
    "room_size": CONNECTIONS // ROOMS,
    "ping_every": 1,
    "settle": 0.3,
    "hold": 3,
    "messages": 20,
    "unicasts": 30,
    "kept": 3,
    "rush": 1,
    "rush_messages": 40,
    "rush_unicasts": 30,
    "sample": 1,
    "metrics": 1,
}
PHASES = ["connect", "hold", "broadcast", "rooms", "unicasts", "storm", "death", "end"]


def test_all_come_hear_everything_and_come_back_after_storm_and_death(tmp_path: Path) -> None:
    words = [f"{name}={value}" for name, value in SIZE.items()]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.c1000k", "c100k", *words, "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["connections"] == CONNECTIONS
    assert (report["lost"], report["repeats"], report["order_errors"]) == (0, 0, 0)
    assert report["heartbeats_answered"] >= 2 * CONNECTIONS

    details = json.loads((tmp_path / "details.json").read_text())
    phases, counts = details["phases"], details["samples"][-1]["counts"]
    assert list(phases) == PHASES
    assert all(phase["limit"]["who"] in ("client", "server", "machine", "none") for phase in phases.values())
    assert counts["broadcasts"] == CONNECTIONS
    hold, members = phases["hold"]["counts"], CONNECTIONS // ROOMS
    on_the_way = 2 * members  # at either end of the phase
    assert abs(hold["messages"] - hold["published"] * members) <= on_the_way < hold["messages"] / 10
    assert phases["unicasts"]["counts"]["kept"] >= 5
    assert counts["acks"] == counts["kept"]
    assert phases["storm"]["gone"] == CONNECTIONS // 10
    assert phases["death"]["gone"] >= CONNECTIONS // 3
    assert counts["reconnects"] == phases["storm"]["gone"] + phases["death"]["gone"]
    text = (tmp_path / "index.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "passed" in text
