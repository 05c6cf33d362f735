from __future__ import annotations

from typing import Any

import pytest

from common.net.bodies import Bodies, IdRepeated, Origin
from common.net.store import Store, value

DAY_MS = 86_400_000
BOB = Origin("p/bob", "", "digest")


@pytest.fixture
def bodies(store: Store) -> Bodies:
    """An empty cache over an empty Redis."""
    return Bodies(store, 1_000_000)


def fresh(store: Store) -> Bodies:
    """Another dbserver's."""
    return Bodies(store, 1_000_000)


def drop(store: Store, bodies: Bodies, *mids: int) -> int:
    return sum(value(reply) for reply in store.run(bodies.drop_scripts(mids)))


def test_bodies_come_back_from_memory_and_from_redis(store: Store, bodies: Bodies) -> None:
    stored = {mid: bytes([mid % 256]) * 10 for mid in (1, 2, 1_500, 3 << 44)}
    for mid, body in stored.items():
        bodies.put(mid, BOB, body, False, DAY_MS)
    assert fresh(store).get([*stored, 99]) == stored
    store.call("FLUSHALL")
    assert bodies.get(stored) == stored
    assert bodies.keep.hits == 4


def test_neighbours_share_a_bucket(store: Store, bodies: Bodies) -> None:
    for mid in (0, 1_023, 1_024):
        bodies.put(mid, BOB, b"x", False, DAY_MS)
    assert sorted(store.call("KEYS", "*")) == [b"db_buckets:0", b"db_buckets:1"]


def test_a_bucket_lives_as_long_as_the_longest_of_its_messages(store: Store, bodies: Bodies) -> None:
    ttls: list[int] = []
    for lasts in (DAY_MS, 3 * DAY_MS, DAY_MS):
        bodies.put(lasts % 1_000 + len(ttls), BOB, b"x", False, lasts)
        ttls.append(round(store.call("PTTL", "db_buckets:0") / DAY_MS))
    assert ttls == [1, 3, 3]


SAME = {
    "the same request": (BOB, Origin("p/bob", "", "digest")),
    "the same request, another key": (BOB, Origin("p/bob", "k", "digest")),
    "the same key, another request": (Origin("p/bob", "k", "one"), Origin("p/bob", "k", "two")),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME.keys())
def test_a_body_there_stands_for_the_request_that_comes_again(
    store: Store, first: Origin, second: Origin
) -> None:
    fresh(store).put(1, first, b"first", False, DAY_MS)
    again = fresh(store)
    again.put(1, second, b"second", False, DAY_MS)
    assert again.get([1]) == fresh(store).get([1]) == {1: b"first"}


ELSEWHERE = {
    "another sender": Origin("p/carol", "", "digest"),
    "another sender with the same key": Origin("p/carol", "k", "digest"),
    "another product": Origin("q/bob", "k", "digest"),
    "another request without a key": Origin("p/bob", "", "other"),
    "another request and key": Origin("p/bob", "l", "other"),
}


@pytest.mark.parametrize("other", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_an_id_given_twice_is_told_and_changes_nothing(store: Store, bodies: Bodies, other: Origin) -> None:
    bodies.put(5 << 44, Origin("p/bob", "k", "digest"), b"first", False, DAY_MS)
    with pytest.raises(IdRepeated, match="shard 5"):
        fresh(store).put(5 << 44, other, b"second", False, DAY_MS)
    assert fresh(store).get([5 << 44]) == {5 << 44: b"first"}


def test_only_bodies_of_a_single_receiver_are_dropped(store: Store, bodies: Bodies) -> None:
    bodies.put(1, BOB, b"one", True, DAY_MS)
    bodies.put(2, BOB, b"many", False, DAY_MS)
    assert drop(store, bodies, 1, 2, 3, 1) == 1
    assert bodies.get([1, 2]) == {2: b"many"}


def test_a_body_sent_on_under_the_same_key_has_many_receivers(store: Store, bodies: Bodies) -> None:
    key = Origin("p/bob", "k", "to alice")
    bodies.put(1, key, b"x", True, DAY_MS)
    bodies.put(1, key._replace(digest="to carol"), b"x", True, DAY_MS)
    assert drop(store, bodies, 1) == 0


def test_a_repeat_to_a_single_receiver_keeps_it_single(store: Store, bodies: Bodies) -> None:
    bodies.put(1, BOB, b"x", True, DAY_MS)
    bodies.put(1, BOB, b"x, a second later", True, DAY_MS)
    assert drop(store, bodies, 1) == 1


def test_a_body_taken_along_while_it_is_sent_on_is_put_again(store: Store, bodies: Bodies) -> None:
    key = Origin("p/bob", "k", "to alice")
    bodies.put(1, key, b"x", True, DAY_MS)
    run = store.run

    def run_and_drop(commands: Any) -> list[Any]:
        replies = run(commands)
        if getattr(commands[0], "name", "") == "body_put" and replies[0]:
            store.run = run  # type: ignore[method-assign]
            drop(store, fresh(store), 1)
        return replies

    store.run = run_and_drop  # type: ignore[method-assign]
    bodies.put(1, key._replace(digest="to carol"), b"x", True, DAY_MS)
    assert fresh(store).get([1]) == {1: b"x"}
    assert drop(store, bodies, 1) == 0


def test_the_cache_stays_within_its_bytes(store: Store) -> None:
    bodies = Bodies(store, 10_000)
    for mid in range(100):
        bodies.put(mid, BOB, b"x" * 800, False, DAY_MS)
    assert bodies.keep.evicted["bytes"] == 90
    assert len(bodies.get(range(100))) == 100
