from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import DeadlineExceeded, NotFound, RequestError, Unavailable
from common.net import saver
from common.net.bodies import IdRepeated
from common.net.sending import Letter
from common.net.store import Script, Store
from tests.common.net.posting import ALICE, NOW_MS, Post, texts
from tests.redis_server import RedisServer

MakeStore = Callable[..., Store]


def names_of(command: Any) -> str:
    return command.name if isinstance(command, Script) else command[0]


def watch(store: Store) -> list[list[str]]:
    """Note the names of the commands of each round trip from now on."""
    trips: list[list[str]] = []
    run = store.run

    def noting(commands: Any) -> list[Any]:
        if commands:
            trips.append([names_of(command) for command in commands])
        return run(commands)

    store.run = noting  # type: ignore[method-assign]
    return trips


def failing(store: Store, name: str, after: bool, calls: int = 1) -> None:
    """Have the first `calls` batches with this command end without an answer: carried out or not."""
    run = store.run
    left = calls

    def flaky(commands: Any) -> list[Any]:
        nonlocal left
        if left and any(names_of(command) == name for command in commands):
            left -= 1
            if after:
                run(commands)
            raise DeadlineExceeded("no answer")
        return run(commands)

    store.run = flaky  # type: ignore[method-assign]


def test_writes_go_in_their_order(store: Store) -> None:
    post = Post(store)
    trips = watch(store)
    post.send("a", key="k")
    assert trips == [["INFO"], ["ZMSCORE"], ["SET", "GET"], ["body_put"], ["mail_push"], ["ledger_add"]]


def test_a_multicast_to_10000_takes_tens_of_round_trips(store: Store) -> None:
    users = [f"p/u{n}" for n in range(10_000)]
    post = Post(store, users=users)
    trips = watch(store)
    sent = post.send("a", *users)
    assert len(trips) <= 25
    assert sent.seqs == dict.fromkeys(users, NOW_MS)
    assert sum(map(len, trips)) <= 10_000 + 50
    assert post.store.call("HLEN", "db_buckets:0") == 1


def test_a_receiver_named_twice_gets_it_once(store: Store) -> None:
    post = Post(store)
    post.send("a", ALICE, ALICE)
    assert texts(post.login()) == ["a"]


STEPS = ("SET", "body_put", "mail_push", "ledger_add")


@pytest.mark.parametrize("after", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("key", ["k", ""], ids=["by key", "by mid"])
def test_a_send_that_failed_at_any_step_is_completed_by_its_repeat(
    store: Store, make_store: MakeStore, redis_server: RedisServer, step: str, after: bool, key: str
) -> None:
    users = [f"p/u{n}" for n in range(7)]
    post = Post(store, users=users, batch=2)
    elsewhere = Post(make_store(redis_server), users=None, batch=2)
    if step == "SET" and not key:
        return
    failing(store, step, after)
    with pytest.raises(DeadlineExceeded):
        post.send("a", *users, mid=1, key=key)
    sent = elsewhere.send("a", *users, mid=2 if key else 1, key=key)
    assert sent.mid == (2 if step == "SET" and not after else 1)
    for user in users:
        assert texts(elsewhere.login(user=user)) == ["a"]
    assert set(elsewhere.states(sent.mid)) == {user[2:] for user in users}


def test_who_logged_in_a_moment_ago_gets_messages_before_anybody_noted_the_user(store: Store) -> None:
    post = Post(store, users=None)
    post.login(user="p/new")
    with pytest.raises(NotFound) as raised:
        post.send("a", "p/new", "p/nobody")
    assert raised.value.facts["users"] == ["nobody"]
    post.send("a", "p/new")
    assert texts(post.login(user="p/new")) == ["a"]
    assert store.call("ZSCORE", "db_users:{p}", "new") == b"1"


def test_tags_and_a_ban_make_no_user(store: Store) -> None:
    post = Post(store, users=None)
    saver.device_mark(post.saver, [["p/new", "phone", ["vip"], 5]])
    saver.ban(post.saver, "p/new", 0)
    with pytest.raises(NotFound):
        post.send("a", "p/new")


def test_a_user_added_under_the_same_key_gets_the_same_message(store: Store) -> None:
    post = Post(store, users=(ALICE, "p/carol"))
    first = post.send("a", key="k", digest="to alice")
    second = post.send("a", ALICE, "p/carol", key="k", digest="to both")
    assert (second.mid, second.seqs[ALICE]) == (first.mid, first.seqs[ALICE])
    post.ack(seq=post.login().seq)
    assert texts(post.login(user="p/carol")) == ["a"]


def test_an_id_given_twice_stores_nothing(store: Store) -> None:
    post = Post(store, users=(ALICE, "p/carol"))
    post.send("a", mid=1)
    with pytest.raises(IdRepeated):
        post.send("b", "p/carol", mid=1)
    with pytest.raises(IdRepeated):
        post.broadcast("b", mid=1, sender="carol")
    assert texts(post.login(user="p/carol")) == []


def test_a_mailbox_left_above_its_limits_is_cut_by_the_next_push(store: Store) -> None:
    post = Post(store, items=2)
    post.login()
    post.sends("a", "b")
    failing(store, "mail_trim", after=False)
    with pytest.raises(DeadlineExceeded):
        post.send("c")
    assert len(post.kept()) == 3
    post.send("d")
    assert texts(post.login()) == ["c", "d"]


def test_while_redis_is_away_nothing_is_kept_and_that_is_said_at_once(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    post = Post(make_store(own_redis, breaker_rest=0.02))
    post.send("a")
    own_redis.kill()
    with pytest.raises((Unavailable, DeadlineExceeded)), gevent.Timeout(1.0):
        post.send("b", key="k")
    own_redis.start()
    gevent.sleep(0.03)
    assert texts(post.login()) == ["a"]


def send_until_kept(post: Post, letter: Letter, users: list[str], failures: list[RequestError]) -> None:
    while True:
        try:
            post.saver.sender.send(letter, users, post.now_ms)
            return
        except (Unavailable, DeadlineExceeded) as error:
            failures.append(error)
            gevent.sleep(0.005)


def test_redis_killed_amid_multicasts_stores_each_once_per_receiver(
    own_redis: RedisServer, make_store: MakeStore
) -> None:
    users = [f"p/u{n}" for n in range(1_000)]
    post = Post(make_store(own_redis, breaker_rest=0.01, timeout=1.0), users=users, batch=50)
    failures: list[RequestError] = []
    done = 0

    def send_all() -> None:
        nonlocal done
        for turn in range(6):
            send_until_kept(post, post.letter(f"m{turn}", key=f"k{turn}"), users, failures)
            done += 1

    sender = gevent.spawn(send_all)
    for kills in range(3):
        while done <= 2 * kills and not sender.ready():
            gevent.sleep(0.005)
        gevent.sleep(0.03)
        own_redis.kill()
        own_redis.start()
    sender.get(timeout=60)
    assert failures
    gevent.sleep(0.02)
    for user in users[::50]:
        page = post.login(user=user)
        assert texts(page) == [f"m{turn}" for turn in range(6)]
        numbers = [seq for seq, _, _ in page.messages]
        assert numbers == sorted(set(numbers))


def test_two_dbservers_with_the_same_key_at_once_keep_it_once(
    redis_server: RedisServer, make_store: MakeStore
) -> None:
    posts = [Post(make_store(redis_server)) for _ in range(4)]
    jobs = [gevent.spawn(post.send, "a", mid=n + 1, key="k") for n, post in enumerate(posts)]
    mids = {job.get(timeout=5).mid for job in jobs}
    assert len(mids) == 1
    assert texts(posts[0].login()) == ["a"]
