from __future__ import annotations

import io

import gevent
import pytest
from gevent.event import Event

from common.errors import DeadlineExceeded, Unavailable
from common.net import log as logs
from common.net.register.banbook import AGAIN_SECONDS, BanBook
from tests.common.net.register.scene import ANN, BOB, NOW, FakeDbservers

EVERY = 60.0


class Scene:
    """A BanBook that owns all users but bob."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        logs.setup("info", "session-0", self.log)
        self.dbservers = FakeDbservers()
        self.dbservers.answers["bans"] = {"ann": 0, "bob": 0}
        self.banned: list[str] = []
        self.went_on: list[str] = []
        self.book = BanBook(
            self.dbservers,  # type: ignore[arg-type]
            EVERY,
            lambda user: user != BOB,
            self.banned.extend,
            lambda: NOW,
        )

    def waits(self, name: str, product: str = "demo", gateway: str = "gateway-0") -> bool:
        return self.book.waits(product, gateway, lambda: self.went_on.append(name))


@pytest.fixture
def book() -> Scene:
    return Scene()


def test_logins_of_a_new_product_wait_in_order_and_go_on_once_its_bans_are_read(book: Scene) -> None:
    assert book.waits("a") and book.waits("b")
    book.book.step(0.0)
    assert book.went_on == ["a", "b"]
    assert not book.waits("c")
    assert book.book.bans.until(ANN, NOW) == 0
    assert book.book.bans.until(BOB, NOW) is None, "another session process has him"
    assert book.banned == [ANN]


AWAY = {"unavailable": Unavailable("away"), "late": DeadlineExceeded("late")}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY)
def test_storage_away_lets_them_in_and_is_asked_again_soon(book: Scene, error: Exception) -> None:
    answer = book.dbservers.answers["bans"]
    book.dbservers.answers["bans"] = error
    book.waits("a")
    book.book.step(0.0)
    assert book.went_on == ["a"] and not book.waits("b")
    book.book.step(AGAIN_SECONDS - 0.1)
    assert len(book.dbservers.calls) == 1
    book.dbservers.answers["bans"] = answer
    book.book.step(AGAIN_SECONDS)
    assert book.banned == [ANN]
    assert "bans not read" in book.log.getvalue()


def test_bans_are_read_again_after_a_while_and_only_new_ones_are_named(book: Scene) -> None:
    book.book.meet("demo")
    book.book.step(0.0)
    book.book.step(EVERY - 1)
    assert len(book.dbservers.calls) == 1
    book.dbservers.answers["bans"] = {"ann": 0, "cat": NOW + 1}
    book.book.step(EVERY)
    assert book.banned == [ANN, "demo/cat"]


def test_each_product_is_read_by_itself(book: Scene) -> None:
    book.waits("a", "demo")
    book.waits("b", "other")
    book.book.step(0.0)
    assert [args for _, args in book.dbservers.calls] == [("demo",), ("other",)]
    assert book.went_on == ["a", "b"]


def test_a_new_stream_voids_the_logins_that_came_by_the_old_one(book: Scene) -> None:
    book.waits("a", gateway="gateway-0")
    book.waits("b", gateway="gateway-1")
    book.book.begun("gateway-0")
    book.book.step(0.0)
    assert book.went_on == ["b"]


def test_a_ban_said_while_the_read_is_under_way_stays(book: Scene) -> None:
    go_on = Event()
    book.dbservers.answers["bans"] = lambda product: go_on.wait() and {}
    book.book.meet("demo")
    reading = gevent.spawn(book.book.step, 0.0)
    gevent.sleep(0)
    book.book.bans.ban(ANN, 0)
    go_on.set()
    reading.get()
    assert book.book.bans.until(ANN, NOW) == 0
    assert book.banned == []


def test_it_runs_by_itself_as_soon_as_a_product_is_met(book: Scene) -> None:
    running = gevent.spawn(book.book.run)
    gevent.sleep(0)
    went_on = Event()
    book.book.waits("demo", "gateway-0", went_on.set)
    assert went_on.wait(0.5)
    running.kill()
