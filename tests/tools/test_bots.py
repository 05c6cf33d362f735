from __future__ import annotations

import json
from typing import Any

import pytest

from common.errors import ConfigError
from common.settings import Cluster, Settings
from tools import bots, center

PAGE = """
# HELP roost_stage_tick_ms from a tick's due moment to its last publish
roost_stage_tick_ms{group="world",index="2",quantile="p99"} 12.5
roost_stage_tick_ms{group="world",index="2",quantile="max"} 40.0
roost_stage_tick_ms{group="world",index="3",quantile="p99"} 3.0
roost_stage_overruns_total{group="world",index="2"} %d
roost_stage_overruns_total{group="world",index="3"} 5
roost_stage_ticks_total{group="world",index="2"} 900.0
"""
ROWS = [
    {"group": "world", "index": 2, "pid": 1},
    {"group": "gateway", "index": 0, "pid": 1},
    {"group": "gateway", "index": 1, "pid": None},
]
TOLD: dict[str, Any] = {
    "here": 20,
    "input_to_state_ms": {"p99": 55.0},
    "lag_ms": {"p99": 1.0},
    "counts": {"in_view": 300, "looks": 20, "compared": 90, "inputs": 50},
    "wrong": [],
    "errors": {},
}
SETTINGS = Settings(cluster=Cluster(maps={"plaza": 2, "arena": 2}))


class FakeBots:
    """Bots that are in the map at once, and see what they are told to have seen."""

    told: dict[str, Any] = TOLD
    closed = 0

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan

    def report(self) -> dict[str, Any]:
        return self.told

    def close(self) -> None:
        FakeBots.closed += 1


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeBots]:
    overruns = iter([4, 7])
    monkeypatch.setattr(bots, "Bots", FakeBots)
    monkeypatch.setattr(bots, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(bots, "plan", lambda *given: {})
    monkeypatch.setattr(center, "get", lambda url: (200, PAGE % next(overruns)))
    monkeypatch.setattr(center, "status", lambda *given: {"processes": ROWS})
    monkeypatch.setattr(FakeBots, "told", TOLD)
    return FakeBots


def test_what_the_bots_and_the_processes_say_becomes_one_result(
    fake: Any, capsys: pytest.CaptureFixture[str]
):
    assert bots.run(SETTINGS, "arena", 20, 0.01, "demo", True) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cpu"].keys() == {"world-2", "world-3", "gateway-0", "gateway-1"}
    wanted = {
        "bots": 20,
        "in_view_mean": 15.0,
        "tick_p99_ms": 12.5,
        "overruns": 3,
        "input_to_state_p99_ms": 55.0,
    }
    assert {name: found[name] for name in wanted} == wanted


def test_a_person_gets_it_in_words(fake: Any, capsys: pytest.CaptureFixture[str]):
    bots.run(SETTINGS, "arena", 20, 0.01, "demo", False)
    said = capsys.readouterr().out
    assert "20 of 20 bots, each with 15.0 others in view" in said
    assert "3 overruns" in said


WRONG = {"told what is not so": {"counts": {"wrong": 1}}, "one stayed away": {"here": 19}}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_what_should_not_be_makes_the_exit_code(
    fake: Any, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fake, "told", TOLD | change)
    monkeypatch.setattr(bots, "_gather", lambda *given: None)
    assert bots.run(SETTINGS, "arena", 20, 0.01, "demo", True) == 1


def test_bots_that_cannot_come_in_say_why_and_are_ended(fake: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fake, "told", TOLD | {"here": 3, "errors": {"error full: no": 17}})
    monkeypatch.setattr(bots, "COME_SECONDS", 0.0)
    before = fake.closed
    with pytest.raises(ConfigError, match="3 of 20 bots came in.*error full"):
        bots.run(SETTINGS, "arena", 20, 0.01, "demo", True)
    assert fake.closed == before + 1


def test_a_world_that_says_nothing_is_named(fake: Any, monkeypatch: pytest.MonkeyPatch):
    pages = iter([PAGE % 4, "", PAGE.replace("world", "gateway") % 4])
    monkeypatch.setattr(center, "get", lambda url: (200, next(pages, "")))
    with pytest.raises(ConfigError, match="world-2, world-3 did not say how its ticks went"):
        bots.run(SETTINGS, "arena", 20, 0.01, "demo", True)


def test_an_unknown_map_is_named_with_those_there_are(fake: Any):
    with pytest.raises(ConfigError, match="moon.*plaza, arena"):
        bots.run(SETTINGS, "moon", 20, 0.01, "demo", True)
