from __future__ import annotations

from typing import Any

import gevent
import gevent.event
import pytest
from gevent import get_hub
from greenlet import getcurrent

from common.net.front import workers
from common.net.front.workers import Workers


def in_loop(do: Any, *args: Any) -> None:
    """Have the loop call something, and wait until it has."""
    get_hub().loop.run_callback(do, *args)
    gevent.sleep(0)
    gevent.sleep(0)


def run(pool: Workers, function: Any, data: Any) -> None:
    in_loop(lambda: pool.take().switch(function, data))


def test_one_greenlet_serves_one_after_the_other() -> None:
    pool, seen = Workers(), []
    for number in range(5):
        run(pool, lambda data: seen.append((data, getcurrent())), number)
    assert [data for data, _ in seen] == list(range(5))
    assert len({greenlet for _, greenlet in seen}) == len(pool) == 1


def test_one_that_waits_is_not_given_to_another() -> None:
    pool, seen, gate = Workers(), [], gevent.event.Event()

    def wait(data: str) -> None:
        gate.wait()
        seen.append((data, getcurrent()))

    run(pool, wait, "first")
    run(pool, wait, "second")
    assert len(pool) == 0
    gate.set()
    gevent.sleep(0.001)
    assert sorted(data for data, _ in seen) == ["first", "second"]
    assert len({greenlet for _, greenlet in seen}) == len(pool) == 2


def test_only_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "KEPT", 2)
    pool, greenlets, gate = Workers(), [], gevent.event.Event()

    def wait(_data: Any) -> None:
        greenlets.append(getcurrent())
        gate.wait()

    for _ in range(4):
        run(pool, wait, None)
    gate.set()
    gevent.sleep(0.001)
    assert len(pool) == 2
    assert sum(greenlet.dead for greenlet in greenlets) == 2
