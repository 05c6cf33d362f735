from __future__ import annotations

import gevent

from common.net.census import census
from tests.waiting import pause


class Marker:
    """A type nobody else has, with an attribute so that the collector tracks it."""

    def __init__(self) -> None:
        self.one = self


def test_objects_are_counted_by_type() -> None:
    markers = [Marker() for _ in range(100_000)]
    told = census()
    assert told["types"][f"{__name__}.Marker"] == len(markers)
    assert told["objects"] >= len(markers)


def test_living_greenlets_and_all_watchers_are_counted() -> None:
    before = census()
    sleepers = [gevent.spawn(gevent.sleep, 60) for _ in range(50)]
    pause(0.01)
    during = census()
    gevent.killall(sleepers)
    after = census()
    assert during["greenlets"] - before["greenlets"] == 50
    assert during["watchers"] - before["watchers"] >= 50
    assert after["greenlets"] == before["greenlets"], "ended ones still held do not count"
