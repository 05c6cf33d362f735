from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.places import Places
from common.settings import Settings, load
from tools import center, cluster, status
from tools.control import Supervisor


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a small cluster that was started."""
    cluster.record_path(tmp_path).touch()
    return load(
        {"ROOST_RUN_DIR": str(tmp_path), "ROOST_CLUSTER_GATEWAYS": "1", "ROOST_CLUSTER_SESSIONS": "1"}
    )


def row(**given: Any) -> dict[str, Any]:
    known = {
        "group": "gateway",
        "index": 0,
        "pid": 17,
        "state": "ready",
        "incarnation": "0006",
        "term": 1,
        "uptime": 65.2,
        "connections": 15_000,
        "lag_p99_ms": 1.25,
        "rss": 52_428_800,
        "queues": {"links": 0, "outbox": 1200},
        "missing": [],
    }
    return known | given


def test_the_document_has_exactly_the_promised_fields(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(center, "status", lambda *_: {"ready": True, "processes": [row()], "more": 1})
    assert status.show(settings, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"ready", "processes"}
    assert tuple(told["processes"][0]) == status.FIELDS


def test_a_cluster_that_is_not_ready_shows_in_the_exit_code(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(center, "status", lambda *_: {"ready": False, "processes": [row(state="starting")]})
    assert status.show(settings, as_json=True) == 1


def test_without_a_cluster_every_configured_process_is_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(center, "status", lambda *_: None)
    told = status.gather(settings, Places(settings))
    assert not told["ready"]
    names = [f"{row['group']}-{row['index']}" for row in told["processes"]]
    assert names == [*Places(settings).processes, "center-0"]
    assert {row["state"] for row in told["processes"]} == {"down"}


def test_another_clusters_center_on_the_same_port_does_not_speak_for_this_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.record_path(Places(settings).run_dir).unlink()
    monkeypatch.setattr(center, "status", lambda *_: {"ready": True, "processes": [row()]})
    told = status.gather(settings, Places(settings))
    assert not told["ready"]
    assert {it["state"] for it in told["processes"]} == {"down"}


def test_without_center_processes_speak_for_themselves(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(center, "status", lambda *_: None)
    monkeypatch.setattr(status, "_ask_all", lambda *_: {"gateway-0": row()})
    supervised = [
        {"name": "gateway-0", "pid": 17},
        {"name": "world-0", "pid": 18},
        {"name": "world-1", "pid": 0},
    ]
    monkeypatch.setattr(Supervisor, "processes", lambda _: supervised)
    told = {
        f"{it['group']}-{it['index']}": it for it in status.gather(settings, Places(settings))["processes"]
    }
    assert told["gateway-0"]["connections"] == 15_000
    assert (told["world-0"]["pid"], told["world-0"]["state"]) == (18, "down")
    assert told["world-1"]["pid"] is None


def test_the_table_shows_what_waits_and_what_is_down() -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    down = dict.fromkeys(status.FIELDS) | {"group": "world", "index": 1, "state": "down"}
    console.print(status.as_table({"ready": False, "processes": [row(), down]}))
    text = console.export_text()
    assert "not ready" in text
    for cell in ("gateway-0", "15,000", "1 m 05 s", "50 MiB", "1.2 ms", "outbox 1,200", "world-1", "down"):
        assert cell in text
    assert "links" not in text
    assert "make run" not in text


def test_the_table_of_a_cluster_that_does_not_run_names_the_cure() -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    down = dict.fromkeys(status.FIELDS) | {"group": "world", "index": 1, "state": "down"}
    console.print(status.as_table({"ready": False, "processes": [down]}))
    assert "`make run` starts a cluster" in console.export_text()


SPANS = {12.9: "12 s", 185: "3 m 05 s", 7_800: "2 h 10 m", 356_400: "4 d 03 h"}


@pytest.mark.parametrize("seconds", SPANS)
def test_times_are_told_in_two_units(seconds: float) -> None:
    assert status.span(seconds) == SPANS[seconds]
