from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from common.net.tasks import Tasks


class Lines:
    """A logger that remembers."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, dict[str, object]]] = []

    def error(self, event: str, **facts: object) -> None:
        self.errors.append((event, facts))


@pytest.fixture
def log() -> Lines:
    return Lines()


def test_a_task_has_a_name_and_gives_its_value(log: Any):
    task = Tasks(log).spawn("adder", lambda a, b: a + b, 2, 3)
    assert task.name == "adder"
    assert task.get(timeout=1) == 5


def test_an_ended_task_is_forgotten(log: Any):
    tasks = Tasks(log)
    tasks.spawn("short", lambda: None).join(1)
    gevent.sleep(0)
    assert len(tasks) == 0


def crash() -> None:
    raise ValueError("broken")


def leak_timeout() -> None:
    raise gevent.Timeout(1)


@pytest.mark.parametrize("function", [crash, leak_timeout], ids=["exception", "leaked timeout"])
def test_a_crash_is_logged_once_with_its_error(log: Any, function):
    Tasks(log).spawn("bad", function).join(1)
    [(event, facts)] = log.errors
    assert event == "task crashed"
    assert facts["task"] == "bad"
    assert isinstance(facts["exc_info"], BaseException)


def test_a_killed_task_is_not_a_crash(log: Any):
    task = Tasks(log).spawn("waiter", Event().wait)
    gevent.sleep(0)
    task.kill(timeout=1)
    assert log.errors == []


@pytest.mark.parametrize(
    "function", [crash, leak_timeout, lambda: None], ids=["exception", "timeout", "return"]
)
def test_a_core_task_that_ends_in_any_way_calls_on_death_once(log: Any, function):
    deaths: list[str] = []
    tasks = Tasks(log, lambda name, error: deaths.append(name))
    tasks.spawn("heart", function, core=True).join(1)
    tasks.spawn("lung", function, core=True).join(1)
    assert deaths == ["heart"]


def test_a_killed_core_task_is_dead_too(log: Any):
    deaths: list[str] = []
    task = Tasks(log, lambda name, error: deaths.append(name)).spawn("heart", Event().wait, core=True)
    gevent.sleep(0)
    task.kill(timeout=1)
    assert deaths == ["heart"]


def test_a_plain_task_that_crashes_does_not_call_on_death(log: Any):
    deaths: list[str] = []
    Tasks(log, lambda name, error: deaths.append(name)).spawn("limb", crash).join(1)
    assert deaths == []


def test_stop_ends_all_without_calling_on_death(log: Any):
    deaths: list[str] = []
    tasks = Tasks(log, lambda name, error: deaths.append(name))
    for index in range(5):
        tasks.spawn(f"waiter-{index}", Event().wait, core=True)
    gevent.sleep(0)
    assert tasks.stop(1) == []
    assert deaths == []
    assert len(tasks) == 0


def test_a_core_task_may_end_once_the_end_is_expected(log: Any):
    deaths: list[str] = []
    tasks = Tasks(log, lambda name, error: deaths.append(name))
    release = Event()
    task = tasks.spawn("rpc", release.wait, core=True)
    tasks.expect_end()
    release.set()
    task.join(1)
    assert deaths == []
    assert log.errors == []


def test_stop_names_what_did_not_end_in_time(log: Any):
    release = Event()

    def stubborn() -> None:
        while not release.is_set():
            try:
                release.wait()
            except gevent.GreenletExit:
                continue

    tasks = Tasks(log)
    task = tasks.spawn("stubborn", stubborn)
    tasks.spawn("meek", Event().wait)
    gevent.sleep(0)
    assert tasks.stop(0.03) == ["stubborn"]
    release.set()
    task.join(1)


def test_stop_also_ends_what_was_spawned_while_stopping(log: Any):
    tasks = Tasks(log)

    def parent() -> None:
        try:
            Event().wait()
        finally:
            tasks.spawn("child", Event().wait)

    tasks.spawn("parent", parent)
    gevent.sleep(0)
    assert tasks.stop(1) == []


def test_stop_called_from_a_task_spares_the_caller(log: Any):
    tasks = Tasks(log)
    tasks.spawn("other", Event().wait)
    assert tasks.spawn("stopper", tasks.stop, 1).get(timeout=1) == []


def test_every_repeats_until_stopped(log: Any):
    tasks = Tasks(log)
    third = Event()
    runs: list[int] = []

    def step() -> None:
        runs.append(1)
        if len(runs) == 3:
            third.set()

    tasks.every("beat", 0.002, step)
    assert third.wait(1)
    assert tasks.stop(1) == []


def test_a_step_that_crashes_ends_its_core_loop(log: Any):
    died = Event()
    Tasks(log, lambda name, error: died.set()).every("beat", 0.001, crash)
    assert died.wait(1)
