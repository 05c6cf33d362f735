from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
from gevent.event import Event

from common.errors import Busy, DeadlineExceeded, Unavailable
from common.net import roomlog
from common.net.store import Store
from common.rules.room import MESSAGE_OVERHEAD
from tests.common.net.hall.durable import OTHER, OWNER, ROOM, MakeScene, Scene, raising, until
from tests.redis_server import RedisServer

MakeStore = Callable[..., Store]


def test_a_message_is_stored_then_confirmed_and_heard_at_its_offset(scene: Scene) -> None:
    assert scene.say("a", "b") == [1, 2]
    assert scene.stored() == [(1, "a"), (2, "b")]
    assert scene.heard() == [(1, "a"), (2, "b")]
    assert scene.appender.queued_bytes == 0


def test_nobody_hears_what_is_not_stored_yet(scene: Scene) -> None:
    scene.say("before")
    heard_early = []
    scene.dbservers.before = lambda method, args: heard_early.extend(scene.heard())
    scene.heard()
    scene.say("a")
    assert heard_early == []


def test_what_gathers_during_a_write_goes_as_one_append_of_many_rooms_in_order(scene: Scene) -> None:
    scene.say("first")
    scene.say("first", room=OTHER)
    go_on = Event()
    scene.dbservers.before = lambda method, args: go_on.wait()
    names = [scene.publish("slow")]
    until(lambda: len(scene.dbservers.of("room_append")) == 3)
    names += [scene.publish(f"a{n}") for n in range(3)]
    names += [scene.publish(f"b{n}", room=OTHER) for n in range(2)]
    go_on.set()
    assert scene.wait(*names) == [2, 3, 4, 5, 2, 3]
    (*_, (_, appends)) = scene.dbservers.of("room_append")
    assert [(one[0], len(one[2])) for one in appends] == [(ROOM, 3), (OTHER, 2)]


# what is to be done behind publishes


def test_what_comes_behind_publishes_waits_for_them_and_for_no_later_ones(scene: Scene) -> None:
    scene.say("a")
    go_on = Event()
    scene.dbservers.before = lambda method, args: go_on.wait()
    seen: list[int] = []

    def look() -> None:
        scene.appender.after(scene.room(), lambda: seen.append(scene.room().offset))

    first = scene.publish("b")
    until(lambda: len(scene.dbservers.of("room_append")) == 2)
    look()
    second = scene.publish("c")
    look()
    assert seen == []
    go_on.set()
    scene.wait(first, second)
    until(lambda: len(seen) == 2)
    assert seen == [2, 3]


def test_where_nothing_waits_it_is_done_at_once(scene: Scene) -> None:
    scene.say("a")
    seen: list[str] = []
    scene.appender.after(scene.room(), lambda: seen.append("done"))
    assert seen == ["done"]


def test_it_is_done_too_behind_publishes_that_fail_or_were_stored_before(scene: Scene) -> None:
    scene.say("a", key="k")
    seen: list[str] = []
    again = scene.publish("a again", key="k")
    scene.appender.after(scene.room(), lambda: seen.append("behind a repeat"))
    assert scene.wait(again) == [1]
    until(lambda: seen == ["behind a repeat"])
    scene.dbservers.before = raising(Unavailable("away"), "room_append")
    lost = scene.publish("lost")
    scene.appender.after(scene.room(), lambda: seen.append("behind a failure"))
    assert scene.wait(lost) == ["unavailable"]
    until(lambda: seen[1:] == ["behind a failure"])


def test_it_is_done_too_behind_publishes_into_a_room_that_cannot_be_loaded(scene: Scene) -> None:
    scene.dbservers.before = raising(Unavailable("away"), "room_load")
    seen: list[str] = []
    lost = scene.publish("lost")
    scene.appender.after(scene.room(), lambda: seen.append("done"))
    assert scene.wait(lost) == ["unavailable"]
    until(lambda: seen == ["done"])


# keys


def test_a_key_stored_before_gives_the_same_offset_and_is_not_heard_again(scene: Scene) -> None:
    scene.say("a", key="k")
    scene.say("b")
    scene.heard()
    assert scene.say("a again", key="k") == [1]
    assert scene.heard() == []
    assert scene.stored() == [(1, "a"), (2, "b")]


def test_a_key_stored_by_an_earlier_life_gives_the_same_offset(make_scene: MakeScene) -> None:
    make_scene().say("a", key="k")
    new = make_scene(owner="world-0 0000000000000003-bb 1")
    assert new.say("a", key="k") == [1]
    assert new.stored() == [(1, "a")]


def test_a_key_repeated_within_one_batch_is_stored_once_and_all_are_told(scene: Scene) -> None:
    names = [scene.publish("a", key="k"), scene.publish("b"), scene.publish("a", key="k")]
    names.append(scene.publish("other sender", key="k", uid="bob"))
    names.append(scene.publish("a", key="k"))
    assert scene.wait(*names) == [1, 2, 1, 3, 1]
    assert scene.heard() == [(1, "a"), (2, "b"), (3, "other sender")]
    assert scene.appender.queued_bytes == 0


def test_a_key_in_a_batch_that_fails_fails_for_all_that_sent_it(scene: Scene) -> None:
    scene.say("before")
    scene.dbservers.before = raising(Unavailable("away"), "room_append")
    names = [scene.publish("a", key="k"), scene.publish("a", key="k")]
    assert scene.wait(*names) == ["unavailable", "unavailable"]


def test_messages_without_a_key_are_never_taken_for_repeats(scene: Scene) -> None:
    assert scene.say("same", "same", "same") == [1, 2, 3]


# failures


def test_what_was_stored_though_the_answer_was_lost_is_heard_later_at_its_offset(scene: Scene) -> None:
    scene.say("before")
    scene.heard()
    scene.dbservers.after = raising(DeadlineExceeded("no answer"), "room_append")
    assert scene.say("a", key="k") == ["unavailable"]
    assert scene.stored() == [(1, "before"), (2, "a")]
    assert scene.heard() == []
    scene.appender.loader.step()
    until(lambda: scene.room().offset == 2)
    assert scene.heard() == [(2, "a")]
    assert scene.say("a", key="k") == [2]
    assert scene.say("b") == [3]
    assert scene.heard() == [(3, "b")]


def test_the_next_message_finds_what_was_stored_without_an_answer_by_itself(scene: Scene) -> None:
    scene.say("before")
    scene.heard()
    scene.dbservers.after = raising(DeadlineExceeded("no answer"), "room_append")
    scene.say("a", key="k")
    assert scene.wait(scene.publish("b"), scene.publish("a", key="k")) == [3, 2]
    assert scene.heard() == [(2, "a"), (3, "b")]


def test_an_append_carried_out_after_we_gave_up_and_loaded_is_found_by_the_next(scene: Scene) -> None:
    scene.say("before")
    scene.heard()
    late: list[tuple[Any, ...]] = []

    def give_up(method: str, args: tuple[Any, ...]) -> None:
        if method == "room_append" and not late:
            late.append(args)
            raise DeadlineExceeded("no answer")

    scene.dbservers.before = give_up
    assert scene.say("a", key="k") == ["unavailable"]
    scene.appender.loader.step()
    until(lambda: len(scene.dbservers.of("room_load")) == 2)
    owner, appends = late[0]
    roomlog.append(scene.dbservers.store, owner, [roomlog.Append(*one) for one in appends])
    assert scene.stored() == [(1, "before"), (2, "a")]
    assert scene.say("b", key="b") == ["unavailable"], "another content stands there"
    scene.appender.loader.step()
    until(lambda: scene.room().offset == 2)
    assert scene.heard() == [(2, "a")]
    assert scene.say("b", key="b") == [3]
    assert scene.say("a", key="k") == [2]
    assert scene.stored() == [(1, "before"), (2, "a"), (3, "b")]


def test_what_was_not_stored_is_refused_and_stored_once_when_repeated(scene: Scene) -> None:
    scene.say("before")
    scene.dbservers.before = raising(Unavailable("away"), "room_append")
    assert scene.say("a", key="k") == ["unavailable"]
    assert scene.say("a", key="k") == [2]
    assert scene.stored() == [(1, "before"), (2, "a")]


def test_what_was_stored_while_the_term_changed_is_not_confirmed_but_heard_later(scene: Scene) -> None:
    scene.say("a")
    scene.heard()

    def freeze(method: str, _args: tuple[Any, ...]) -> None:
        if method == "room_append":
            scene.owner = OWNER[:-1] + "2"

    scene.dbservers.after = freeze
    assert scene.say("b", key="k") == ["unavailable"]
    assert scene.heard() == []
    assert scene.say("b", key="k") == [2]
    assert scene.heard() == [(2, "b")]


def test_a_room_redis_refuses_does_not_hold_up_the_others(scene: Scene) -> None:
    scene.say("a")
    scene.say("a", room=OTHER)
    scene.dbservers.store.call("DEL", roomlog.keys(ROOM)[1])
    scene.dbservers.store.call("SET", roomlog.keys(ROOM)[1], "no stream")
    assert scene.wait(scene.publish("b"), scene.publish("b", room=OTHER)) == ["unavailable", 2]


def test_above_the_bound_a_publish_is_busy_until_something_is_stored(make_scene: MakeScene) -> None:
    scene = make_scene(limit=3 * (MESSAGE_OVERHEAD + 1))
    go_on = Event()
    scene.dbservers.before = lambda method, args: go_on.wait()
    names = [scene.publish("x") for _ in range(4)]
    assert isinstance(scene.outcomes[names[3]], Busy)
    assert list(scene.outcomes) == names[3:]
    go_on.set()
    assert scene.wait(*names[:3]) == [1, 2, 3]
    assert scene.say("x") == [4]


def test_messages_being_stored_count_towards_the_bound(make_scene: MakeScene) -> None:
    scene = make_scene(limit=2 * (MESSAGE_OVERHEAD + 1))
    scene.say("x")
    go_on = Event()
    scene.dbservers.before = lambda method, args: go_on.wait()
    first = scene.publish("x")
    until(lambda: len(scene.dbservers.of("room_append")) == 2)
    second, third = scene.publish("x"), scene.publish("x")
    assert isinstance(scene.outcomes[third], Busy)
    go_on.set()
    assert scene.wait(first, second) == [2, 3]


def test_a_room_is_busy_while_something_of_it_is_under_way(scene: Scene) -> None:
    busy = scene.appender.busy
    assert not busy(ROOM)
    seen: list[tuple[str, bool]] = []
    scene.dbservers.before = lambda method, args: seen.append((method, busy(ROOM)))
    name = scene.publish("a")
    assert busy(ROOM)
    scene.wait(name)
    assert seen == [("room_load", True), ("room_append", True)]
    assert not busy(ROOM)


def test_redis_killed_and_back_loses_nothing_confirmed_and_doubles_nothing(
    own_redis: RedisServer, make_store: MakeStore, make_scene: MakeScene
) -> None:
    store = make_store(own_redis, timeout=0.3, breaker_rest=0.01)
    scene = make_scene(on=store, history_items=10_000)
    scene.say("begin")
    confirmed: dict[str, int] = {}
    stop = Event()

    def sender(uid: str) -> None:
        for number in count():
            text = f"{uid}{number}"
            while True:
                (outcome,) = scene.wait(scene.publish(text, key=text, uid=uid))
                if isinstance(outcome, int):
                    confirmed[text] = outcome
                    break
                gevent.sleep(0.005)
            if stop.is_set():
                return

    senders = [gevent.spawn(sender, uid) for uid in "abc"]
    recheck = scene.tasks.every("recheck", 0.02, scene.appender.loader.step)
    rng = random.Random(5)
    for _ in range(3):
        before = len(confirmed)
        until(lambda before=before: len(confirmed) > before + 10)  # type: ignore[misc]
        gevent.sleep(rng.uniform(0, 0.03))
        own_redis.kill()
        gevent.sleep(0.03)
        own_redis.start()
    stop.set()
    gevent.joinall(senders, timeout=10, raise_error=True)
    recheck.kill()
    stored = scene.stored()
    assert len({text for _, text in stored}) == len(stored), "nothing is stored twice"
    assert {text: offset for offset, text in stored if text in confirmed} == confirmed
    heard = scene.heard()
    assert heard == stored[-len(heard) :], "heard once, in order, without a hole"
    assert len(heard) == len(stored)


def test_random_failures_confirm_only_what_is_stored_and_all_of_it_is_heard_in_order(scene: Scene) -> None:
    rng = random.Random(17)

    def fail(_method: str, _args: tuple[Any, ...]) -> None:
        if rng.random() < 0.15:
            raise rng.choice([Unavailable("away"), DeadlineExceeded("no answer")])

    def delay(method: str, args: tuple[Any, ...]) -> None:
        gevent.sleep(rng.choice([0, 0, 0.002]))
        fail(method, args)

    scene.dbservers.before, scene.dbservers.after = delay, fail
    recheck = scene.tasks.every("recheck", 0.01, scene.appender.loader.step)
    results: dict[str, list[Any]] = {}
    for number in range(150):
        text = f"m{rng.randrange(100)}"
        results.setdefault(text, []).append(scene.publish(text, key=text))
        if number % 20 == 10:
            scene.owner = f"{OWNER[:-1]}{number}"
        gevent.sleep(rng.choice([0, 0, 0.003]))
    scene.dbservers.before = scene.dbservers.after = lambda method, args: None
    last = scene.say("last", "last")[-1]
    while not isinstance(last, int):
        (last,) = scene.say("last")
    recheck.kill()
    stored = dict(scene.stored())
    offsets: dict[str, set[int]] = {}
    for text, names in results.items():
        offsets[text] = {outcome for outcome in scene.wait(*names) if isinstance(outcome, int)}
        assert len(offsets[text]) <= 1, "one key, one offset"
        assert all(stored[offset] == text for offset in offsets[text])
    assert any(offsets.values())
    assert [offset for offset, _ in scene.heard()] == list(range(1, len(stored) + 1))
    assert scene.appender.queued_bytes == 0
