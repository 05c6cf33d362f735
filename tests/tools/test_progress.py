from __future__ import annotations

from typing import Any

import pytest

from common.places import GROUPS, Places
from common.settings import load
from tools import center, progress
from tools.progress import Progress

Answers = tuple[dict[str, Any] | None, tuple[bool, str]]


def rows(*names: str, state: str = "ready") -> list[dict[str, Any]]:
    return [{"group": name.rpartition("-")[0], "state": state} for name in names]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> tuple[Progress, list[str], list[Answers], list[float]]:
    settings = load({"ROOST_CLUSTER_GATEWAYS": "2"})
    said: list[str] = []
    answers: list[Answers] = []
    now = [100.0]
    monkeypatch.setattr(center, "status", lambda *_: answers[0][0])
    monkeypatch.setattr(center, "healthy", lambda *_: answers.pop(0)[1])
    return Progress(settings, Places(settings), said.append, lambda: now[0]), said, answers, now


def test_each_group_is_told_once_when_it_is_complete(told: Any) -> None:
    watching, said, answers, _ = told
    half, whole = rows("gateway-0", "function-0"), rows("gateway-0", "gateway-1", "function-0")
    answers += [
        ({"processes": half}, (False, "")),
        ({"processes": whole}, (False, "")),
        ({"processes": whole}, (True, "")),
    ]
    assert [watching.step() for _ in range(3)] == [False, False, True]
    told_of = [line.split()[0] for line in said]
    assert [line.split()[:2] for line in said[:2]] == [["function", "1/1"], ["gateway", "2/2"]]
    assert sorted(told_of) == sorted(GROUPS)


def test_when_all_is_ready_every_group_was_told_even_if_center_came_last(told: Any) -> None:
    watching, said, answers, _ = told
    answers += [(None, (True, ""))]
    assert watching.step()
    assert {line.split()[0] for line in said} == set(GROUPS)


def test_processes_that_are_not_ready_do_not_count(told: Any) -> None:
    watching, said, answers, _ = told
    answers += [({"processes": rows("function-0", state="starting")}, (False, ""))]
    watching.step()
    assert said == []


def test_a_long_wait_is_told_with_what_is_missing(told: Any) -> None:
    watching, said, answers, now = told
    for seconds in (1, progress.SILENCE + 1, progress.SILENCE + 2, 2 * progress.SILENCE + 1):
        now[0] = 100.0 + seconds
        answers.append((None, (False, "world-1: not answering")))
        watching.step()
    assert len(said) == 2
    assert all("world-1: not answering" in line for line in said)
    assert watching.missing() == "world-1: not answering"
