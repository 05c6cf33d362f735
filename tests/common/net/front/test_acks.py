from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from common.net.dbclient import Dbservers
from common.net.front import acks as module
from common.net.front.acks import AT_ONCE, BROADCAST_SECONDS, SETTLED_SECONDS, WRITTEN_SECONDS, Acks
from common.net.front.box import Box
from tests.common.net.front.letterbox import Letterbox
from tests.common.net.hall.recording import Clock


class Device:
    """What acks need of a connection."""

    def __init__(self, uid: str, age: float) -> None:
        self.user = f"demo/{uid}"
        self.device = "d"
        self.box: Any = Box(None)
        self.box.load(0, 0, False)
        self.epoch = int((time.time() - age) * 1_000_000)


class Scene:
    """Acks over a letterbox, at a time of their own."""

    def __init__(self) -> None:
        self.store = Letterbox()
        self.clock = Clock()
        callers = SimpleNamespace(call=self.store)
        self.acks = Acks(Dbservers(callers, SimpleNamespace(dbservers=("dbserver-0",))), self.clock)  # type: ignore[arg-type]

    def connection(self, uid: str = "ann", age: float = 0.0) -> Any:
        """Give a connection that came `age` seconds ago."""
        return Device(uid, age)

    def ack(self, connection: Any, seq: int | None = None, bseq: int | None = None) -> None:
        """Ack as mail does."""
        is_mail = seq is not None and connection.box.seq.ack(seq)
        if bseq is not None:
            connection.box.bseq.ack(bseq)
        self.acks.moved(connection, is_mail)

    def end(self, connection: Any) -> None:
        """End a connection as mail does."""
        box, connection.box = connection.box, None
        self.acks.ended(connection, box)

    def told(self) -> list[list[Any]]:
        """Flush; give the rows storage heard."""
        self.store.acks.clear()
        self.acks.flush()
        return list(self.store.acks)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_many_acks_of_a_device_are_one_row(scene: Scene) -> None:
    ann = scene.connection()
    for number in range(1, 50):
        scene.ack(ann, seq=number)
    assert scene.told() == [["demo/ann", "d", 49, None]]
    assert scene.told() == []


def test_an_ack_of_broadcasts_alone_waits_a_minute(scene: Scene) -> None:
    ann = scene.connection()
    scene.ack(ann, bseq=5)
    scene.clock.now += BROADCAST_SECONDS - 1
    scene.ack(ann, bseq=6)
    assert scene.told() == []
    scene.clock.now += 1
    assert scene.told() == [["demo/ann", "d", None, 6]]
    scene.clock.now += 2 * BROADCAST_SECONDS
    assert scene.told() == []


def test_an_ack_of_broadcasts_goes_with_the_next_one_of_messages(scene: Scene) -> None:
    ann = scene.connection()
    scene.ack(ann, bseq=5)
    scene.ack(ann, seq=3)
    scene.ack(ann, bseq=6)
    assert scene.told() == [["demo/ann", "d", 3, 6]]
    scene.clock.now += BROADCAST_SECONDS
    assert scene.told() == []


@pytest.mark.parametrize("numbers, row", [({"seq": 3}, [3, None]), ({"bseq": 5}, [None, 5])])
def test_a_connection_that_ends_has_its_acks_told_at_once(
    scene: Scene, numbers: dict[str, int], row: list[Any]
) -> None:
    ann = scene.connection()
    scene.ack(ann, **numbers)
    scene.end(ann)
    assert scene.acks._full.is_set()
    assert scene.told() == [["demo/ann", "d", *row]]


def test_two_hundred_devices_do_not_wait_for_the_second(scene: Scene) -> None:
    for number in range(AT_ONCE):
        assert not scene.acks._full.is_set()
        scene.ack(scene.connection(f"u{number}"), seq=1)
    assert scene.acks._full.is_set()


def test_a_call_has_a_bounded_number_of_rows(scene: Scene) -> None:
    for number in range(AT_ONCE + 1):
        scene.ack(scene.connection(f"u{number}"), seq=1)
    assert len(scene.told()) == AT_ONCE + 1
    assert [len(args[0]) for _, args in scene.store.calls] == [AT_ONCE, 1]


def test_what_storage_did_not_take_is_told_later_with_the_highest_number(scene: Scene) -> None:
    ann = scene.connection()
    scene.ack(ann, seq=3, bseq=5)
    scene.store.away = True
    assert scene.told() == []
    scene.ack(ann, seq=4)
    scene.store.away = False
    assert scene.told() == [["demo/ann", "d", 4, 5]]
    assert len(scene.acks) == 0


def test_acks_that_wait_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    scene.store.away = True
    for number in range(3):
        scene.ack(scene.connection(f"u{number}"), seq=1)
    scene.told()
    scene.store.away = False
    assert [row[0] for row in scene.told()] == ["demo/u0", "demo/u1"]


@pytest.mark.parametrize("age, rows", [(SETTLED_SECONDS - 5, 0), (SETTLED_SECONDS + 5, 1)])
def test_only_a_connection_that_lived_a_minute_counts_as_having_been_there(
    scene: Scene, age: float, rows: int
) -> None:
    ann = scene.connection(age=age)
    ann.box.seq.take(7, 1)
    scene.end(ann)
    scene.told()
    assert [[user, device, written] for user, device, _, written in scene.store.seen] == [
        ["demo/ann", "d", 7]
    ] * rows


def reported(scene: Scene) -> list[tuple[str, int]]:
    """Flush; give (user, newest number written) of the devices storage heard of."""
    scene.store.seen.clear()
    scene.acks.flush()
    return [(user, written) for user, _, _, written in scene.store.seen]


def write(scene: Scene, connection: Any, seq: int) -> None:
    """Write a live message as mail does."""
    connection.box.seq.take(seq, 1)
    scene.acks.written(connection)


def test_what_was_written_and_is_not_acked_for_a_while_is_reported_once(scene: Scene) -> None:
    ann = scene.connection()
    write(scene, ann, 7)
    write(scene, ann, 8)
    assert reported(scene) == []
    scene.clock.now += WRITTEN_SECONDS
    assert reported(scene) == [("demo/ann", 8)]
    scene.clock.now += WRITTEN_SECONDS
    assert reported(scene) == []
    write(scene, ann, 9)
    scene.clock.now += WRITTEN_SECONDS
    assert reported(scene) == [("demo/ann", 9)]


def test_what_is_acked_at_once_costs_no_report(scene: Scene) -> None:
    ann = scene.connection()
    write(scene, ann, 7)
    scene.ack(ann, seq=7)
    scene.clock.now += WRITTEN_SECONDS
    assert reported(scene) == []
    scene.end(ann)
    assert reported(scene) == []


def test_what_was_written_to_a_connection_that_ended_before_its_ack_is_reported(scene: Scene) -> None:
    ann = scene.connection()
    write(scene, ann, 7)
    scene.end(ann)
    assert reported(scene) == [("demo/ann", 7)]


def test_reports_that_wait_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    scene.store.away = True
    for number in range(3):
        ann = scene.connection(f"u{number}")
        write(scene, ann, 7)
        scene.end(ann)
    reported(scene)
    scene.store.away = False
    assert [user for user, _ in reported(scene)] == ["demo/u0", "demo/u1"]


def test_others_run_while_the_acks_of_a_broadcast_to_all_are_gathered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [scene.connection(f"u{number}") for number in range(3 * AT_ONCE)]
    for connection in everybody:
        scene.ack(connection, bseq=5)
    kept: list[int] = []
    turns: list[int] = []
    keep = scene.acks._keep

    def counted(row: list[Any]) -> None:
        kept.append(1)
        keep(row)

    monkeypatch.setattr(scene.acks, "_keep", counted)
    scene.clock.now += BROADCAST_SECONDS

    def another() -> None:
        while len(kept) < len(everybody):
            turns.append(len(kept))
            gevent.sleep(0)

    other = gevent.spawn(another)
    assert len(scene.told()) == len(everybody)
    other.join(1)
    assert {AT_ONCE, 2 * AT_ONCE} <= set(turns)


def test_what_is_acked_by_who_leaves_while_acks_are_gathered_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody = [scene.connection(f"u{number}") for number in range(2 * AT_ONCE)]
    for connection in everybody:
        scene.ack(connection, bseq=5)
    scene.clock.now += BROADCAST_SECONDS
    gevent.spawn(scene.end, everybody[-1])
    assert sorted(row[0] for row in scene.told()) == sorted(one.user for one in everybody)
