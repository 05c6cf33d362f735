from __future__ import annotations

import io

import gevent
import pytest

from common.errors import DeadlineExceeded, Unavailable
from common.net import log as logs
from common.net.register import endings as module
from common.net.register.endings import Endings
from common.rules.devices import Limits
from common.rules.presence import Presence
from tests.common.net.register.scene import ANN, BOB, NAMES, NOW, FakeDbservers

BORN = NOW * 1000


class Scene:
    """Endings of a process that began at NOW."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        logs.setup("info", "session-0", self.log)
        self.dbservers = FakeDbservers()
        self.dbservers.answers |= {"logins_ended": lambda rows: [0] * len(rows), "device_mark": None}
        self.presence = Presence(NAMES, Limits({}, ended=3))
        self.endings = Endings(self.presence, self.dbservers, NOW)  # type: ignore[arg-type]
        self.went_on: list[str] = []

    def waits(self, name: str, user: str = ANN, epoch: int = BORN - 1, gateway: str = "gateway-0") -> bool:
        return self.endings.waits(user, "p", epoch, gateway, lambda: self.went_on.append(name))

    def calls(self, method: str) -> list[object]:
        """Give the rows of each call of a method."""
        return [args[0] for name, args in self.dbservers.calls if name == method]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_resumes_of_older_logins_wait_and_go_on_in_order_once_storage_was_asked(scene: Scene) -> None:
    scene.dbservers.answers["logins_ended"] = [BORN - 1, 0]
    assert scene.waits("a") and scene.waits("b", BOB)
    assert scene.went_on == []
    scene.endings.read()
    assert scene.went_on == ["a", "b"]
    assert scene.calls("logins_ended") == [[[ANN, "p"], [BOB, "p"]]]
    assert scene.presence.ended.has(ANN, "p", BORN - 1)
    assert not scene.presence.ended.has(BOB, "p", 1)


def test_a_login_of_this_process_is_known_without_asking(scene: Scene) -> None:
    assert not scene.waits("a", epoch=BORN)


def test_what_memory_had_to_forget_is_asked_for(scene: Scene) -> None:
    for number in range(4):
        scene.presence.ended.end(f"demo/u{number}", "p", BORN + number)
    assert scene.waits("a", epoch=BORN - 1)
    assert not scene.waits("b", epoch=BORN)
    for number in range(4, 8):
        scene.presence.ended.end(f"demo/u{number}", "p", BORN + number)
    assert scene.waits("c", epoch=BORN + 3)
    assert not scene.waits("d", epoch=BORN + 4)


AWAY = {"unavailable": Unavailable("away"), "late": DeadlineExceeded("late")}


@pytest.mark.parametrize("error", AWAY.values(), ids=AWAY)
def test_storage_away_lets_them_go_on(scene: Scene, error: Exception) -> None:
    scene.dbservers.answers["logins_ended"] = error
    scene.waits("a")
    scene.endings.read()
    assert scene.went_on == ["a"]
    assert "ended logins not read" in scene.log.getvalue()


def test_many_that_wait_are_asked_for_in_bounded_calls(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    for number in range(5):
        scene.waits(str(number), f"demo/u{number}")
    scene.endings.read()
    assert scene.went_on == ["0", "1", "2", "3", "4"]
    assert len(scene.calls("logins_ended")) == 3


def test_a_new_stream_voids_the_logins_that_came_by_the_old_one(scene: Scene) -> None:
    scene.waits("a", gateway="gateway-0")
    scene.waits("b", gateway="gateway-1")
    scene.endings.begun("gateway-0")
    scene.endings.read()
    assert scene.went_on == ["b"]


def test_what_ended_is_written_once_with_its_highest_epoch(scene: Scene) -> None:
    for epoch in (5, 9, 7):
        scene.endings.ended(ANN, "p", epoch)
    scene.endings.ended(BOB, "p", 3)
    assert scene.endings.write()
    assert scene.endings.write()
    assert scene.calls("device_mark") == [[[ANN, "p", None, 9], [BOB, "p", None, 3]]]
    assert len(scene.endings) == 0


def test_what_storage_did_not_take_is_written_later(scene: Scene) -> None:
    scene.endings.ended(ANN, "p", 5)
    scene.dbservers.answers["device_mark"] = Unavailable("away")
    assert not scene.endings.write()
    scene.dbservers.answers["device_mark"] = None
    assert scene.endings.write()
    assert len(scene.calls("device_mark")) == 2


def test_what_ends_while_it_is_written_is_written_too(scene: Scene) -> None:
    def again(_rows: object) -> None:
        scene.dbservers.answers["device_mark"] = None
        scene.endings.ended(ANN, "p", 6)

    scene.dbservers.answers["device_mark"] = again
    scene.endings.ended(ANN, "p", 5)
    assert scene.endings.write()
    assert scene.calls("device_mark")[-1] == [[ANN, "p", None, 6]]


def test_what_waits_for_storage_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNWRITTEN", 2)
    for number in range(5):
        scene.endings.ended(f"demo/u{number}", "p", 1)
    scene.endings.write()
    assert scene.calls("device_mark") == [[["demo/u3", "p", None, 1], ["demo/u4", "p", None, 1]]]


def test_it_reads_and_writes_by_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    scene.dbservers.answers["device_mark"] = Unavailable("away")
    running = gevent.spawn(scene.endings.run)
    scene.endings.ended(ANN, "p", 5)
    scene.waits("a")
    with gevent.Timeout(5):
        while len(scene.calls("device_mark")) < 2 or scene.went_on != ["a"]:
            gevent.sleep(0.005)
        scene.dbservers.answers["device_mark"] = None
        while len(scene.endings):
            gevent.sleep(0.005)
    running.kill()
