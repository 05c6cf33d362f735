from __future__ import annotations

import time
from typing import Any

import pytest
from gevent.event import AsyncResult

from common.errors import DeadlineExceeded, Full, NotFound, RequestError, Unavailable
from common.net.front.requests import Failed, Request, Requests, item, settle, settle_error


class FakeConnection:
    """Remembers what its requests were refused with."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.refused: list[tuple[int, str]] = []

    def refuse(self, number: int, error: RequestError) -> None:
        self.refused.append((number, error.code))


class Scene:
    """Requests of one connection, to world-0 unless said otherwise."""

    def __init__(self) -> None:
        self.requests = Requests(10.0)
        self.connection = FakeConnection()
        self.finished: list[tuple[int, Any]] = []

    def add(self, number: int, at: float = 0.0, peer: str = "world-0", fail: Failed | None = None) -> int:
        """Send one; give the number it went under."""
        request = Request(self.connection, number, peer, at, self.finish, fail, None)  # type: ignore[arg-type]
        return self.requests.add(request)

    def finish(self, request: Request, value: Any) -> None:
        if isinstance(value, RequestError):
            raise value
        self.finished.append((request.number, value))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_answer_finds_its_request(scene: Scene) -> None:
    first, second = scene.add(5), scene.add(6)
    scene.requests.succeed(second, "b")
    scene.requests.succeed(first, "a")
    assert scene.finished == [(6, "b"), (5, "a")]
    assert (len(scene.requests), scene.connection.in_flight) == (0, 0)


def test_a_refusal_is_the_reply_with_its_facts(scene: Scene) -> None:
    errors: list[RequestError] = []
    rid = scene.add(5, fail=lambda request, error: errors.append(error))
    scene.requests.fail(rid, "full", "too many", {"limit": 3})
    (error,) = errors
    assert isinstance(error, Full)
    assert error.body() == {"code": "full", "message": "too many", "retry": False, "limit": 3}
    scene.requests.fail(scene.add(6), "not_found", "", {})
    assert scene.connection.refused == [(6, "not_found")]


def test_what_a_finisher_raises_is_the_reply(scene: Scene) -> None:
    scene.requests.succeed(scene.add(5), NotFound("gone"))
    assert scene.connection.refused == [(5, "not_found")]


def test_a_late_answer_is_dropped(scene: Scene) -> None:
    rid = scene.add(5)
    scene.requests.expire(99.0)
    scene.requests.succeed(rid, "late")
    scene.requests.fail(rid, "busy", "", {})
    scene.requests.succeed(rid + 1, "of nobody")
    assert scene.finished == []
    assert scene.connection.refused == [(5, "timeout")]
    assert scene.connection.in_flight == 0


def test_requests_time_out_in_the_order_they_were_sent_each_when_its_time_is_over(scene: Scene) -> None:
    for number, at in ((5, 0.0), (6, 0.0), (7, 4.0)):
        scene.add(number, at)
    scene.requests.expire(9.9)
    assert scene.connection.refused == []
    scene.requests.expire(10.0)
    assert scene.connection.refused == [(5, "timeout"), (6, "timeout")]
    scene.requests.expire(14.0)
    assert [number for number, _ in scene.connection.refused] == [5, 6, 7]
    assert len(scene.requests) == 0


def test_a_lost_peer_fails_its_requests_and_no_others(scene: Scene) -> None:
    scene.add(5)
    other = scene.add(6, peer="world-1")
    scene.add(7)
    scene.requests.lost("world-0")
    assert scene.connection.refused == [(5, "unavailable"), (7, "unavailable")]
    scene.requests.succeed(other, "x")
    assert scene.finished == [(6, "x")]


def test_a_request_sent_while_others_are_failed_is_kept(scene: Scene) -> None:
    def again(request: Request, error: RequestError) -> None:
        scene.add(8, at=50.0)

    scene.add(5, fail=again)
    scene.requests.lost("world-0")
    assert len(scene.requests) == 1
    scene.add(6, fail=again)
    scene.requests.expire(59.0)
    assert len(scene.requests) == 2


def test_a_request_that_was_not_sent_leaves_nothing(scene: Scene) -> None:
    scene.requests.forget(scene.add(5))
    scene.requests.expire(99.0)
    assert (len(scene.requests), scene.connection.in_flight, scene.connection.refused) == (0, 0, [])


def test_numbers_begin_above_those_of_an_earlier_life() -> None:
    earlier = Scene()
    numbers = [earlier.add(5) for _ in range(100)]
    time.sleep(0.002)
    assert Scene().add(5) > max(numbers)
    assert numbers == sorted(set(numbers))
    assert 0 < max(numbers) < 2**53


def test_an_item_carries_its_kind_and_number_first() -> None:
    assert item("where", ["ann"], 3)(7) == ["where", 7, ["ann"], 3]


def test_greenlets_get_the_value_or_the_error() -> None:
    scene = Scene()
    done, failed = AsyncResult(), AsyncResult()
    for result in (done, failed):
        request = Request(scene.connection, 0, "session-0", 0.0, settle, settle_error, result)  # type: ignore[arg-type]
        rid = scene.requests.add(request)
        if result is done:
            scene.requests.succeed(rid, 7)
        else:
            scene.requests.expire(99.0)
    assert done.get(block=False) == 7
    with pytest.raises(DeadlineExceeded):
        failed.get(block=False)


def test_a_lost_peer_says_that_it_may_have_been_done(scene: Scene) -> None:
    errors: list[RequestError] = []
    scene.add(5, fail=lambda request, error: errors.append(error))
    scene.requests.lost("world-0")
    assert isinstance(errors[0], Unavailable)
    assert "may have been done" in errors[0].message
