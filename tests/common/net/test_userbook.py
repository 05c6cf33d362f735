from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from common.errors import DeadlineExceeded, Unavailable
from common.net.mailbox import Mailboxes
from common.net.store import Store, value
from common.net.userbook import BATCH_ROWS, about, add, note, tags_of, unknown
from common.settings import Mailbox
from tests.redis_server import RedisServer


def table(store: Store, *command: str) -> dict[str, float]:
    """Read a hash, or a zset with its scores."""
    flat = store.call(*command)
    return {key.decode(): float(number) for key, number in zip(flat[::2], flat[1::2], strict=True)}


def sequences(store: Store, product: str) -> dict[str, float]:
    return table(store, "ZRANGE", f"db_users:{{{product}}}", "0", "-1", "WITHSCORES")


def online(store: Store, product: str) -> dict[str, float]:
    return table(store, "HGETALL", f"db_online:{{{product}}}")


def test_users_get_a_join_sequence_in_order_and_keep_it(store: Store) -> None:
    note(store, [["p/carol", 1, 0], ["p/alice", 1, 0]])
    note(store, [["p/alice", 2, 0], ["p/bob", 2, 0], ["p/carol", 3, 0]])
    assert sequences(store, "p") == {"carol": 1, "alice": 2, "bob": 3}


def test_last_seen_never_goes_back(store: Store) -> None:
    note(store, [["p/alice", 1_700_000_000_500, 0]])
    note(store, [["p/alice", 1_700_000_000_100, 0]])
    assert table(store, "ZRANGE", "db_seen:{p}", "0", "-1", "WITHSCORES") == {"alice": 1_700_000_000_500}


def test_online_time_adds_up(store: Store) -> None:
    note(store, [["p/alice", 1, 900]])
    note(store, [["p/alice", 2, 30.5]])
    note(store, [["p/alice", 3, 0]])
    assert online(store, "p") == {"alice": 930.5}


def test_a_repeated_batch_adds_nothing_at_any_dbserver(
    redis_server: RedisServer, make_store: Callable[..., Store]
) -> None:
    rows = [["p/alice", 1, 900], ["q/alice", 1, 8], ["p/bob", 1, 0]]
    for _ in range(3):
        note(make_store(redis_server), rows)
    store = make_store(redis_server)
    assert online(store, "p") == {"alice": 900}
    assert online(store, "q") == {"alice": 8}


def test_equal_users_of_two_products_never_meet(store: Store) -> None:
    note(store, [["p/alice", 5, 1], ["q/bob", 6, 2], ["q/alice", 7, 3]])
    assert (sequences(store, "p"), online(store, "p")) == ({"alice": 1}, {"alice": 1})
    assert (sequences(store, "q"), online(store, "q")) == ({"bob": 1, "alice": 2}, {"bob": 2, "alice": 3})


def test_a_batch_of_many_users_is_cut_and_all_are_noted(store: Store) -> None:
    rows = [[f"p/u{n}", n, 1] for n in range(2 * BATCH_ROWS + 1)]
    note(store, rows)
    note(store, rows)
    assert len(sequences(store, "p")) == len(rows)
    assert set(online(store, "p").values()) == {1.0}
    assert store.call("GET", "db_useq:{p}") == str(len(rows)).encode()


def test_nothing_to_note_is_fine(store: Store) -> None:
    note(store, [])


def test_a_batch_is_forgotten_after_a_while(store: Store) -> None:
    note(store, [["p/alice", 1, 900]])
    (key,) = store.call("KEYS", "db_batch:*")
    assert 0 < store.call("TTL", key) <= 600


def test_a_batch_repeated_after_redis_was_killed_counts_once(
    own_redis: RedisServer, make_store: Callable[..., Store]
) -> None:
    store = make_store(own_redis, breaker_rest=0.01, timeout=0.5)
    failures = []
    turns = 0
    goes_on = True

    def write() -> None:
        nonlocal turns
        while goes_on:
            batch: list[list[object]] = [[f"p/u{user}", turns, 1] for user in range(20)]
            while not _noted(store, batch):
                failures.append(batch)
                gevent.sleep(0.005)
            turns += 1

    writer = gevent.spawn(write)
    for _ in range(2):
        gevent.sleep(0.04)
        own_redis.kill()
        own_redis.start()
    gevent.sleep(0.04)
    goes_on = False
    writer.get(timeout=20)
    assert failures
    assert online(store, "p") == {f"u{user}": turns for user in range(20)}


def _noted(store: Store, batch: list[list[object]]) -> bool:
    try:
        note(store, batch)
    except (Unavailable, DeadlineExceeded):
        return False
    return True


def test_an_answer_that_never_came_does_not_count_twice(store: Store) -> None:
    rows = [["p/alice", 1, 900]]

    class Deaf:
        def run(self, commands: list[object]) -> None:
            store.run(commands)  # type: ignore[arg-type]
            raise DeadlineExceeded("no answer")

    with pytest.raises(DeadlineExceeded):
        note(Deaf(), rows)  # type: ignore[arg-type]
    note(store, rows)
    assert online(store, "p") == {"alice": 900}


def test_users_nobody_knows_are_named_in_order(store: Store) -> None:
    note(store, [[f"p/u{n}", 1, 0] for n in range(2_500)])
    asked = [f"p/u{n}" for n in range(2_500)]
    assert unknown(store, "p", asked) == []
    assert unknown(store, "p", ["p/z", *asked, "p/y"]) == ["z", "y"]
    assert unknown(store, "q", ["q/u1"]) == ["u1"]


def test_a_user_is_added_once_and_was_never_seen(store: Store) -> None:
    assert [add(store, user) for user in ("p/alice", "p/bob", "p/alice")] == [1, 2, 1]
    assert about(store, "p/alice")[:4] == (1, 0, 0.0, 0)


def test_a_user_added_after_a_login_stays_as_seen(store: Store) -> None:
    note(store, [["p/alice", 500, 30]])
    add(store, "p/alice")
    assert about(store, "p/alice")[:3] == (1, 500, 30.0)


def test_of_a_user_nobody_knows_nothing_is_told(store: Store) -> None:
    assert about(store, "p/nobody") == (None, None, 0.0, 0, (0, 0, 0, {}))


def test_tags_set_for_devices_are_given_in_order_and_none_where_none_are(store: Store) -> None:
    boxes = Mailboxes(store, Mailbox(), 16)
    for user, device, tags in (("p/alice", "phone", ["vip", "de"]), ("p/bob", "web", ["x"])):
        value(store.run([boxes.mark_script(user, device, tags, None)])[0])
    asked = [["p/bob", "web"], ["p/alice", "phone"], ["p/alice", "web"], ["p/nobody", "x"]]
    assert tags_of(store, asked) == [["x"], ["vip", "de"], None, None]
    value(store.run([boxes.mark_script("p/bob", "web", [], None)])[0])
    assert tags_of(store, asked[:1]) == [None]
