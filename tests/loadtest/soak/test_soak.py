"""The soak as `make soak` runs it, for some seconds: that it does its work, never that all is flat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from common.settings import ROOT

SECONDS, RATE, DEVICES = 6.0, 40.0, 240
SINGLE = {"function-0", "center-0", "redis-0", "gunicorn", "supervisord"}
PAIRS = {f"{group}-{index}" for group in ("gateway", "session", "dbserver", "world") for index in (0, 1)}
HELD = {"rss", "descriptors", "greenlets", "watchers"}


def test_devices_come_and_go_at_the_rate_and_every_process_is_judged(tmp_path: Path) -> None:
    words = [
        "--minutes",
        f"{SECONDS / 60}",
        "--rate",
        f"{RATE}",
        "--devices",
        f"{DEVICES}",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.soak", *words], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode in (0, 1), done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    crowd, counts = report["crowd"], report["crowd"]["counts"]
    assert crowd["errors"] == {}
    assert not [said for said in report["failures"] if "is not flat" not in said and "instead" not in said]
    assert crowd["reconnects"] >= report["seconds"] * RATE / 2
    ways = (
        "left: bye",
        "left: fin",
        "left: rst",
        "resumed",
        "by token",
        "kept messages",
        "acks",
        "published",
    )
    assert all(counts[way] for way in ways), counts
    assert report["api"]["kept broadcast"] >= 1
    verdicts = report["verdicts"]
    assert set(verdicts) == SINGLE | PAIRS
    assert all(set(verdicts[name]) >= HELD for name in (PAIRS | {"function-0", "center-0"}))
    assert {"rss", "descriptors", "keys", "memory", "clients"} <= set(verdicts["redis-0"])
    assert verdicts["gateway-0"]["connections"]["last"] > 0
    assert report["kinds"]["end"]["db_smeta"] == DEVICES / 2
    text = (tmp_path / "report.md").read_text()
    assert "| gateway-1 | watchers |" in text
    assert "| `db_ledger` |" in text
    assert done.returncode == bool(report["failures"])
