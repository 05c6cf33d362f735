"""The whole bench at a tiny size: that it runs and that all is heard in order; never how fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.settings import ROOT
from loadtest.peers.table import PEERS

SIZE = ("rounds=1", "subscribers=20", "room=5", "rates=[500]", "steady=0.2", "saturate=0.15")
QUICK = ("warm_up=0.05", "settle=0.05", "window=8")
HERE = [name for name, make in PEERS.items() if make().version()]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run of all servers that are here left."""
    out: Path = tmp_path_factory.mktemp("peers")
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.peers", *SIZE, *QUICK, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in out.iterdir()} == {
        "report.json",
        "report.md",
        "peers-deliveries.svg",
        "peers-per-cpu.svg",
    }
    told: dict[str, Any] = json.loads((out / "report.json").read_text())
    return told


def test_what_comes_from_pip_is_always_here() -> None:
    assert {"roost", "websockets", "socketio"} <= set(HERE)


@pytest.mark.parametrize("name", HERE)
def test_every_subscriber_hears_all_in_order_and_all_figures_are_there(
    name: str, report: dict[str, Any]
) -> None:
    assert report["peers"][name]["failed"] == []
    made = report["figures"][name]
    assert (made["lost"], made["repeats"], made["misordered"], made["errors"]) == (0, 0, 0, {})
    assert all(taken["deliveries_per_second"] > 0 for taken in made["saturate"].values())
    assert made["steady"]["500"]["p50_ms"] > 0
    for layout in report["peers"][name]["rounds"][0].values():
        assert layout["subscribers"] == 20
        assert layout["saturate"]["published"] > 0


def test_roost_counts_all_its_processes(report: dict[str, Any]) -> None:
    groups = report["figures"]["roost"]["saturate"]["rooms"]["cores_by_group"]
    assert {"gateway", "world", "session", "dbserver", "function", "center", "redis"} <= set(groups)
