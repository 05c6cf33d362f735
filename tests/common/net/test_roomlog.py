from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import Conflict, DeadlineExceeded, Unavailable
from common.net.roomlog import Append, append, keys, load
from common.net.store import Store
from tests.redis_server import RedisServer

MakeStore = Callable[..., Store]
ROOM = "p/plaza/keep.a"
OWNER = "world-0 0000000000000002-aa 1"


def messages(*texts: str) -> list[list[Any]]:
    """Make messages of alice, one each."""
    return [["alice", f"key-{text}", text.encode(), 1_700_000_000_000] for text in texts]


def put(store: Store, expected: int, *texts: str, owner: str = OWNER, **limits: Any) -> tuple[str, int]:
    """Append to ROOM."""
    (result,) = append(
        store, owner, [Append(ROOM, expected, messages(*texts), **{"keep_items": 100, **limits})]
    )
    return result


def texts_of(store: Store, **arguments: Any) -> list[str]:
    """Load ROOM as its next owner; give what can be replayed."""
    arguments = {"room": ROOM, "owner": OWNER, "keep_items": 100, **arguments}
    return [entry[3].decode() for entry in load(store, **arguments)[2]]


def test_a_new_room_has_an_epoch_of_now_and_nothing_in_it(store: Store) -> None:
    before = int(time.time() * 1_000_000)
    epoch, offset, entries = load(store, ROOM, OWNER, 100)
    assert before <= epoch <= int(time.time() * 1_000_000) < 2**53
    assert (offset, entries) == (0, [])


def test_what_was_appended_is_loaded_with_its_offsets(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    assert put(store, 0, "a", "b") == ("ok", 2)
    assert put(store, 2, "c") == ("ok", 3)
    time_ms = 1_700_000_000_000
    assert load(store, ROOM, OWNER, 100) == (
        epoch,
        3,
        [
            [1, "alice", "key-a", b"a", time_ms],
            [2, "alice", "key-b", b"b", time_ms],
            [3, "alice", "key-c", b"c", time_ms],
        ],
    )


def test_any_bytes_and_an_empty_key_come_back_unchanged(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    message = ["", "", bytes(range(256)), 0]
    assert append(store, OWNER, [Append(ROOM, 0, [message], 100)]) == [("ok", 1)]
    assert load(store, ROOM, OWNER, 100)[2] == [[1, *message]]


def test_a_group_of_rooms_goes_in_one_batch_and_each_has_its_own_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [f"p/plaza/keep.{n}" for n in range(50)]
    for room in rooms:
        load(store, room, OWNER, 100)
    batches: list[int] = []
    run = store.run

    def counted(commands: list[Any]) -> list[Any]:
        batches.append(len(commands))
        return run(commands)

    monkeypatch.setattr(store, "run", counted)
    appends = [Append(room, n % 2, messages("x"), 100) for n, room in enumerate(rooms)]
    assert append(store, OWNER, appends) == [("ok", 1) if n % 2 == 0 else ("moved", 0) for n in range(50)]
    assert batches == [50]


def test_a_room_redis_refuses_does_not_stop_the_others(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    load(store, "p/plaza/keep.b", OWNER, 100)
    store.call("SET", keys(ROOM)[1], "no stream")
    both = [Append(ROOM, 0, messages("x"), 100), Append("p/plaza/keep.b", 0, messages("x"), 100)]
    assert append(store, OWNER, both) == [("unavailable", 0), ("ok", 1)]


CALLERS = {
    "the same again": (OWNER, False),
    "a newer term": ("world-0 0000000000000002-aa 2", False),
    "a newer incarnation": ("world-0 0000000000000003-00 1", False),
    "a newer incarnation with a lower term": ("world-0 0000000000000010-aa 1", False),
    "another process name": ("world-1 0000000000000001-aa 1", False),
    "an older incarnation": ("world-0 0000000000000001-ff 9", True),
    "an older incarnation of the same microsecond": ("world-0 0000000000000002-a9 9", True),
}


@pytest.mark.parametrize(("caller", "fenced"), CALLERS.values(), ids=CALLERS)
def test_loading_takes_a_room_unless_a_newer_one_of_the_name_has_it(
    store: Store, caller: str, fenced: bool
) -> None:
    load(store, ROOM, OWNER, 100)
    if not fenced:
        load(store, ROOM, caller, 100)
        assert put(store, 0, "x", owner=caller) == ("ok", 1)
        return
    with pytest.raises(Conflict) as raised:
        load(store, ROOM, caller, 100)
    assert raised.value.facts["owner"] == OWNER
    assert put(store, 0, "x") == ("ok", 1)


def test_an_older_term_is_fenced_by_number_not_by_text(store: Store) -> None:
    load(store, ROOM, "world-0 0000000000000002-aa 10", 100)
    with pytest.raises(Conflict):
        load(store, ROOM, "world-0 0000000000000002-aa 9", 100)


def test_who_lost_a_room_cannot_append_and_changes_nothing(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    put(store, 0, "a")
    load(store, ROOM, "world-0 0000000000000003-aa 1", 100)
    assert put(store, 1, "stale") == ("fenced", 1)
    assert texts_of(store, owner="world-0 0000000000000004-aa 1") == ["a"]


def test_an_append_to_a_room_never_loaded_is_moved_to_nothing(store: Store) -> None:
    assert put(store, 7, "x") == ("moved", 0)
    assert store.call("EXISTS", *keys(ROOM)) == 0


@pytest.mark.parametrize("expected", [0, 1, 3, 50])
def test_an_unexpected_offset_is_moved_and_changes_nothing(store: Store, expected: int) -> None:
    load(store, ROOM, OWNER, 100)
    put(store, 0, "a", "b")
    assert put(store, expected, "x") == ("moved", 2)
    assert texts_of(store) == ["a", "b"]


def test_a_repeat_is_ok_and_stores_nothing_twice(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    put(store, 0, "a")
    assert put(store, 1, "b", "c") == ("ok", 3)
    assert put(store, 1, "b", "c") == ("ok", 3)
    assert texts_of(store) == ["a", "b", "c"]


def test_a_repeat_with_more_behind_it_stores_only_what_is_new(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    assert put(store, 0, "a", "b") == ("ok", 2)
    assert put(store, 0, "a", "b", "c", "d") == ("ok", 4)
    assert texts_of(store) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("field", range(4))
def test_other_content_at_the_same_place_is_no_repeat(store: Store, field: int) -> None:
    load(store, ROOM, OWNER, 100)
    put(store, 0, "a")
    (message,) = messages("a")
    message[field] = [b"mallory", b"another", b"b", 5][field]
    assert append(store, OWNER, [Append(ROOM, 0, [message], 100)]) == [("moved", 1)]
    assert texts_of(store) == ["a"]


def test_a_repeat_is_known_even_where_most_of_it_was_trimmed(store: Store) -> None:
    load(store, ROOM, OWNER, 2)
    assert put(store, 0, "a", "b", "c", "d", keep_items=2) == ("ok", 4)
    assert put(store, 0, "a", "b", "c", "d", keep_items=2) == ("ok", 4)
    assert put(store, 0, "a", "b", "c", "e", keep_items=2) == ("moved", 4)


def test_the_log_keeps_exactly_the_newest_items(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    for n in range(30):
        assert put(store, 10 * n, *[str(10 * n + i) for i in range(10)], keep_items=123) == (
            "ok",
            10 * n + 10,
        )
    assert store.call("XLEN", keys(ROOM)[1]) == 123
    assert texts_of(store, keep_items=1000) == [str(n) for n in range(177, 300)]


def test_the_log_keeps_within_its_bytes_and_always_the_newest(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    entry = len("alice") + len("key-x") + 1 + 32
    for n, text in enumerate("abcdefgh"):
        put(store, n, text, keep_bytes=3 * entry + 1)
    assert store.call("XLEN", keys(ROOM)[1]) == 3
    assert int(store.call("HGET", keys(ROOM)[0], "bytes")) == 3 * entry
    assert put(store, 8, "x" * 5000, keep_bytes=100) == ("ok", 9)
    assert store.call("XLEN", keys(ROOM)[1]) == 1


def test_the_count_of_bytes_is_right_after_any_appends(store: Store) -> None:
    rng = random.Random(7)
    load(store, ROOM, OWNER, 100)
    offset = 0
    for _ in range(60):
        batch = [
            [f"u{n}", "k" * rng.randrange(5), b"d" * rng.randrange(300), n] for n in range(rng.randrange(9))
        ]
        limits = {"keep_items": rng.randrange(1, 90), "keep_bytes": rng.choice([0, 2_000, 9_000])}
        status, offset = append(store, OWNER, [Append(ROOM, offset, batch, **limits)])[0]
        assert status == "ok"
        kept = [fields[1::2] for _, fields in store.call("XRANGE", keys(ROOM)[1], "-", "+")]
        size = sum(len(uid) + len(key) + len(data) + 32 for uid, key, data, _ in kept)
        assert int(store.call("HGET", keys(ROOM)[0], "bytes") or 0) == size
        assert len(kept) <= limits["keep_items"]


def test_loading_gives_no_more_than_asked_for(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    put(store, 0, *"abcdef")
    assert texts_of(store, keep_items=2) == ["e", "f"]
    assert texts_of(store, keep_bytes=3 * (len("alice") + len("key-x") + 33)) == ["d", "e", "f"]


def test_loading_leaves_out_what_is_too_old(store: Store) -> None:
    load(store, ROOM, OWNER, 100)
    now = int(time.time() * 1000)
    ages = [["u", "", str(age).encode(), now - age * 1000] for age in (100, 50, 5)]
    append(store, OWNER, [Append(ROOM, 0, ages, 100, 0, 60)])
    assert texts_of(store, keep_seconds=60) == ["50", "5"]


def test_keys_expire_with_the_history_and_the_epoch_lives_longer(store: Store) -> None:
    meta, log = keys(ROOM)
    load(store, ROOM, OWNER, 100)
    assert 0 < store.call("TTL", meta) <= 86_400
    put(store, 0, "a", keep_seconds=100)
    assert 0 < store.call("TTL", log) <= 100 < 86_400 < store.call("TTL", meta) <= 86_500
    put(store, 1, "b")
    assert store.call("TTL", meta) == -1


def test_a_log_that_expired_is_an_empty_room_that_goes_on_counting(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, "a", "b")
    store.call("DEL", keys(ROOM)[1])
    assert load(store, ROOM, OWNER, 100) == (epoch, 2, [])
    assert put(store, 2, "c") == ("ok", 3)
    assert texts_of(store) == ["c"]
    assert int(store.call("HGET", keys(ROOM)[0], "bytes")) == len("alice") + len("key-c") + 1 + 32


def test_equal_rooms_of_two_products_never_meet(store: Store) -> None:
    ours, theirs = "p/plaza/keep.a", "q/plaza/keep.a"
    for room in (ours, theirs):
        load(store, room, OWNER, 100)
    append(store, OWNER, [Append(ours, 0, messages("ours"), 100), Append(theirs, 0, messages("theirs"), 100)])
    assert texts_of(store, room=ours) == ["ours"]
    assert texts_of(store, room=theirs) == ["theirs"]


def restarted(server: RedisServer, store: Store) -> None:
    """Kill Redis and start it again; wait until the store sees it."""
    server.kill()
    server.start()
    gevent.sleep(0.03)
    store.call("PING")


def test_a_new_owner_after_a_restart_of_redis_gets_a_new_epoch_and_goes_on_counting(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, breaker_rest=0.01)
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, "a", "b")
    restarted(own_redis, store)
    newer, offset, entries = load(store, ROOM, "world-0 0000000000000003-aa 1", 100)
    assert newer > epoch
    assert offset == 2
    assert [entry[3] for entry in entries] == [b"a", b"b"]


def test_an_owner_that_remembers_keeps_the_epoch_over_a_restart_of_redis(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, breaker_rest=0.01)
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, "a")
    restarted(own_redis, store)
    assert put(store, 1, "b") == ("ok", 2)
    assert load(store, ROOM, "world-0 0000000000000003-aa 1", 100)[:2] == (epoch, 2)
    restarted(own_redis, store)
    assert load(store, ROOM, "world-0 0000000000000003-aa 1", 100, 0, 0, epoch, 2)[:2] == (epoch, 2)


def lose_end(store: Store, offset: int) -> None:
    """Make Redis forget what came after `offset`, as one that lost its last seconds."""
    store.call("XTRIM", keys(ROOM)[1], "MAXLEN", 0)
    store.call("DEL", keys(ROOM)[1])
    for n in range(1, offset + 1):
        fields = [
            x
            for pair in zip(("uid", "key", "data", "time"), messages(chr(96 + n))[0], strict=True)
            for x in pair
        ]
        store.call("XADD", keys(ROOM)[1], f"{n}-0", *fields)
    store.call("HSET", keys(ROOM)[0], "offset", offset, "run_id", "an earlier life")


def test_an_owner_puts_back_what_redis_lost(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, *"abcde")
    lose_end(store, 3)
    assert put(store, 5, "f") == ("moved", 3)
    assert put(store, 3, "d", "e", "f") == ("ok", 6)
    assert load(store, ROOM, OWNER, 100)[:2] == (epoch, 6)
    assert texts_of(store) == list("abcdef")


def test_known_offsets_are_never_given_again_and_a_hole_is_not_replayed(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, *"abcde")
    lose_end(store, 3)
    assert load(store, ROOM, OWNER, 100, 0, 0, epoch, 5) == (epoch, 5, [])
    assert put(store, 5, "f") == ("ok", 6)
    assert [entry[0] for entry in load(store, ROOM, OWNER, 100)[2]] == [6]


def test_a_redis_that_forgot_everything_takes_the_room_as_its_owner_remembers_it(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, *"abc")
    store.call("FLUSHALL")
    assert put(store, 3, "d") == ("moved", 0)
    assert load(store, ROOM, OWNER, 100, 0, 0, epoch, 3) == (epoch, 3, [])
    assert put(store, 3, "d") == ("ok", 4)


def test_an_end_that_is_lost_and_forgotten_by_all_means_a_new_epoch(store: Store) -> None:
    epoch, _, _ = load(store, ROOM, OWNER, 100)
    put(store, 0, *"abcde")
    lose_end(store, 3)
    newer, offset, entries = load(store, ROOM, "world-0 0000000000000003-aa 1", 100)
    assert newer > epoch and offset == 3
    assert [entry[3] for entry in entries] == [b"a", b"b", b"c"]


def test_no_acknowledged_append_is_lost_or_doubled_when_redis_is_killed_under_load(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    store = make_store(own_redis, breaker_rest=0.01, timeout=1.0)
    epoch, _, _ = load(store, ROOM, OWNER, 10_000)
    acknowledged = 0
    failures = 0

    def write_all() -> None:
        nonlocal acknowledged, failures
        while acknowledged < 600:
            try:
                status, newest = put(store, acknowledged, str(acknowledged), keep_items=10_000)
            except (Unavailable, DeadlineExceeded):
                failures += 1
                gevent.sleep(0.005)
                continue
            assert (status, newest) == ("ok", acknowledged + 1)
            acknowledged += 1

    writer = gevent.spawn(write_all)
    for kills in range(3):
        while acknowledged < 100 * (kills + 1) and not writer.ready():
            gevent.sleep(0.002)
        own_redis.kill()
        own_redis.start()
    writer.get(timeout=30)
    assert failures > 0
    entries = load(store, ROOM, OWNER, 10_000, 0, 0, epoch, acknowledged)[2]
    assert [(entry[0], entry[3]) for entry in entries] == [(n + 1, str(n).encode()) for n in range(600)]
