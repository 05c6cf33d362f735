from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from common.errors import Unavailable
from common.net.idrange import RANGE, Ids


class Ranges:
    """Gives ranges as dbservers do, none next to the one before."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.go_on = Event()
        self.go_on.set()
        self.error: Exception | None = None

    def call(self, method: str, count: int, timeout: float | None = None) -> Any:
        assert (method, count) == ("ids_take", RANGE)
        self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.given.append(len(self.given) * 10 * RANGE)
        return self.given[-1]


@pytest.fixture
def ranges() -> Ranges:
    return Ranges()


def ids_over(ranges: Ranges) -> Ids:
    return Ids(ranges)  # type: ignore[arg-type]


def test_ids_come_one_by_one_from_a_range_and_then_from_the_next(ranges: Ranges) -> None:
    ids = ids_over(ranges)
    taken = [ids.take() for _ in range(RANGE + 2)]
    assert taken == [*range(RANGE), 10 * RANGE, 10 * RANGE + 1]
    assert len(ranges.given) == 2


def test_many_takers_wait_for_one_range_and_never_share_an_id(ranges: Ranges) -> None:
    ids = ids_over(ranges)
    ranges.go_on.clear()
    takers = [gevent.spawn(ids.take) for _ in range(RANGE + 50)]
    gevent.sleep(0)
    ranges.go_on.set()
    taken = [taker.get(timeout=5) for taker in takers]
    assert len(set(taken)) == len(taken)
    assert len(ranges.given) == 2


def test_a_failure_is_the_takers_and_the_next_one_asks_again(ranges: Ranges) -> None:
    ids = ids_over(ranges)
    ranges.error = Unavailable("away")
    for _ in range(2):
        with pytest.raises(Unavailable):
            ids.take()
    ranges.error = None
    assert ids.take() == 0


def test_a_taker_that_is_killed_leaves_the_lock_free(ranges: Ranges) -> None:
    ids = ids_over(ranges)
    ranges.go_on.clear()
    taker = gevent.spawn(ids.take)
    gevent.sleep(0)
    taker.kill()
    ranges.go_on.set()
    with gevent.Timeout(2):
        assert ids.take() == 0
