from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from common.errors import Unavailable
from common.net import roomlog
from common.net.hall.loader import LOADS_AT_ONCE
from tests.common.net.hall.durable import OTHER, OWNER, ROOM, MakeScene, Scene, now_ms, raising, until


def test_a_room_is_loaded_by_the_first_message_and_not_again(scene: Scene) -> None:
    scene.say("a", "b", "c")
    scene.say("d")
    assert len(scene.dbservers.of("room_load")) == 1


def test_a_new_world_goes_on_with_epoch_offsets_and_history(make_scene: MakeScene) -> None:
    old = make_scene()
    old.say("a", "b", key="")
    epoch = old.room().epoch
    new = make_scene(owner="world-0 0000000000000003-bb 1")
    assert new.load() == ["ok"]
    room = new.room()
    assert (room.epoch, room.offset) == (epoch, 2)
    assert [message.data for message in room.recover(epoch, 0, 300, new.clock.now).messages] == [b"a", b"b"]
    assert new.links.take() == [("gateway-0", ["sync", ROOM, epoch, 2])]
    assert new.say("c") == [3]
    assert new.heard() == [(3, "c")]


def test_what_is_loaded_has_the_age_it_has(make_scene: MakeScene) -> None:
    old = make_scene()
    name = [old.publish("a")]
    old.wait(*name)
    new = make_scene(owner="world-0 0000000000000003-bb 1", history_seconds=100)
    hour_ago = now_ms() - 90_000
    old.dbservers.store.call("DEL", roomlog.keys(ROOM)[1])
    fields = ("uid", "ann", "key", "", "data", "a", "time", hour_ago)
    old.dbservers.store.call("XADD", roomlog.keys(ROOM)[1], "1-0", *fields)
    new.load()
    assert len(new.room().newest(300, new.clock.now + 5).messages) == 1
    assert new.room().newest(300, new.clock.now + 15).messages == []


def test_messages_for_a_room_that_cannot_be_loaded_are_refused(scene: Scene) -> None:
    scene.dbservers.before = raising(Unavailable("away"), "room_load")
    names = [scene.publish("a"), scene.publish("b")]
    assert scene.wait(*names) == ["unavailable", "unavailable"]
    assert scene.appender.queued_bytes == 0
    assert scene.say("c") == [1]


def test_a_room_with_members_that_could_not_be_loaded_is_tried_again(scene: Scene) -> None:
    scene.dbservers.before = raising(Unavailable("away"), "room_load", times=2)
    assert scene.load() == ["unavailable"]
    for tried in (2, 3):
        scene.appender.loader.step()
        until(lambda tried=tried: len(scene.dbservers.of("room_load")) == tried)  # type: ignore[misc]
    until(lambda: scene.room().epoch > 0)
    assert [item[0] for _, item in scene.links.take()] == ["sync"]
    scene.appender.loader.step()
    gevent.sleep(0.01)
    assert len(scene.dbservers.of("room_load")) == 3


def test_a_room_without_members_that_could_not_be_loaded_is_let_be(scene: Scene) -> None:
    scene.dbservers.before = raising(Unavailable("away"), "room_load")
    assert scene.load() == ["unavailable"]
    scene.book.set_members(scene.room(), "gateway-0", 0, 0)
    scene.book.rooms.pop(ROOM)
    scene.appender.loader.step()
    gevent.sleep(0.01)
    assert len(scene.dbservers.of("room_load")) == 1


def test_a_load_that_hangs_holds_up_no_other_room(scene: Scene) -> None:
    scene.say("before", room=OTHER)
    go_on = Event()

    def hang(method: str, args: tuple[Any, ...]) -> None:
        if method == "room_load" and args[0] == ROOM:
            go_on.wait()

    scene.dbservers.before = hang
    slow = scene.publish("a")
    assert scene.say("b", room=OTHER) == [2]
    assert scene.load("demo/plaza/keep.3") == ["ok"]
    assert slow not in scene.outcomes
    go_on.set()
    assert scene.wait(slow) == [1]


def test_only_so_many_rooms_are_loaded_at_once_and_all_in_the_end(scene: Scene) -> None:
    under_way, most = [0], [0]

    def enter(_method: str, _args: tuple[Any, ...]) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        gevent.sleep(0.002)

    def leave(_method: str, _args: tuple[Any, ...]) -> None:
        under_way[0] -= 1

    scene.dbservers.before, scene.dbservers.after = enter, leave
    rooms = [scene.room(f"demo/plaza/keep.{n}") for n in range(3 * LOADS_AT_ONCE)]
    for room in rooms:
        scene.appender.loader.load(room)
        scene.appender.loader.load(room)
    until(lambda: all(room.epoch for room in rooms))
    assert most[0] == LOADS_AT_ONCE
    assert len(scene.dbservers.of("room_load")) == len(rooms)


def test_a_defect_in_a_load_refuses_those_who_wait_and_holds_up_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.dbservers.before = raising(TypeError("a defect"), "room_load")
    assert scene.load() == ["internal"]
    assert scene.load() == ["ok"]


def test_a_newer_owner_fences_us_and_nothing_of_ours_is_stored_or_heard(
    scene: Scene, make_scene: MakeScene
) -> None:
    scene.say("a")
    newer = make_scene(owner="world-0 0000000000000003-bb 1")
    assert newer.say("b") == [2]
    scene.heard()
    assert scene.say("stale") == ["unavailable"]
    assert scene.say("stale") == ["unavailable"]
    assert scene.heard() == []
    assert newer.say("c") == [3]
    assert scene.stored() == [(1, "a"), (2, "b"), (3, "c")]


def test_a_room_with_a_newer_owner_is_not_asked_for_each_second(scene: Scene, make_scene: MakeScene) -> None:
    scene.say("a")
    make_scene(owner="world-0 0000000000000003-bb 1").say("b")
    scene.say("stale")
    scene.say("stale")
    loads = len(scene.dbservers.of("room_load"))
    scene.appender.loader.step()
    gevent.sleep(0.01)
    assert len(scene.dbservers.of("room_load")) == loads


def test_after_a_new_term_a_room_is_loaded_again_before_it_is_appended_to(scene: Scene) -> None:
    scene.say("a")
    scene.owner = OWNER[:-1] + "2"
    assert scene.say("b") == [2]
    assert len(scene.dbservers.of("room_load")) == 2
    assert scene.dbservers.of("room_append")[-1][0] == scene.owner


def test_a_store_that_lost_its_end_goes_on_without_giving_an_offset_twice(scene: Scene) -> None:
    scene.say("a", "b", "c")
    meta, log = roomlog.keys(ROOM)
    scene.dbservers.store.call("XDEL", log, "3-0")
    scene.dbservers.store.call("HSET", meta, "offset", 2, "run_id", "another")
    epoch = scene.room().epoch
    assert scene.say("d", key="k") == ["unavailable"]
    assert scene.say("d", key="k") == [4]
    assert scene.room().epoch == epoch
    assert scene.stored() == [(1, "a"), (2, "b"), (4, "d")]


def test_a_store_that_forgot_everything_goes_on_in_the_same_epoch(scene: Scene) -> None:
    scene.say("a", "b")
    epoch = scene.room().epoch
    scene.dbservers.store.call("DEL", *roomlog.keys(ROOM))
    assert scene.say("c", key="k") == ["unavailable"]
    assert scene.say("c", key="k") == [3]
    assert scene.room().epoch == epoch


def test_a_new_world_over_a_store_that_restarted_begins_a_new_epoch_and_members_hear_it(
    make_scene: MakeScene,
) -> None:
    old = make_scene()
    old.say("a", "b")
    old.dbservers.store.call("HSET", roomlog.keys(ROOM)[0], "run_id", "another")
    new = make_scene(owner="world-0 0000000000000003-bb 1")
    new.load()
    assert new.room().epoch > old.room().epoch
    assert new.links.take() == [("gateway-0", ["sync", ROOM, new.room().epoch, 2])]


def test_a_room_that_moved_far_ahead_shows_as_lost_and_goes_on(make_scene: MakeScene) -> None:
    scene = make_scene(history_items=3)
    scene.say("a")
    room = scene.room()
    scene.links.take()
    messages = [["eve", "", b"x", now_ms()] for _ in range(10)]
    roomlog.append(scene.dbservers.store, OWNER, [roomlog.Append(ROOM, 1, messages, 3)])
    assert scene.say("b", key="k") == ["unavailable"]
    assert scene.say("b", key="k") == [12]
    assert [item[0] for _, item in scene.links.take()] == ["sync", "m"]
    assert [m.offset for m in room.newest(300, scene.clock.now).messages] == [10, 11, 12]


def test_a_room_that_gave_its_memory_back_is_loaded_again_and_knows_its_keys(scene: Scene) -> None:
    scene.say("a", key="k")
    epoch = scene.room().epoch
    scene.book.begin(scene.room(), 0, 0)
    scene.links.take()
    assert scene.say("a", key="k") == [1]
    assert (scene.room().epoch, scene.room().offset) == (epoch, 1)
    assert scene.links.take() == [("gateway-0", ["sync", ROOM, epoch, 1])]
