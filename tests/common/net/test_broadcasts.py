from __future__ import annotations

import pytest

from common.net import broadcasts, userbook
from common.net.store import Store
from tests.common.net.posting import ALICE, NOW_MS, Post, shouts, texts


@pytest.fixture
def post(store: Store) -> Post:
    """A saver on an empty Redis; alice exists."""
    return Post(store)


def test_numbers_are_unix_ms_or_one_more_than_the_last(post: Post) -> None:
    assert [post.broadcast(text)[1:] for text in "ab"] == [(NOW_MS, 0), (NOW_MS + 1, NOW_MS)]
    post.sleep(5)
    assert post.broadcast("c")[1:] == (NOW_MS + 5_000, NOW_MS + 1)
    post.sleep(-60)
    assert post.broadcast("d")[1] == NOW_MS + 5_001


def test_a_mid_that_is_known_keeps_its_number(post: Post) -> None:
    first = post.broadcast("a", mid=1)
    post.broadcast("b", mid=2)
    assert post.broadcast("a", mid=1) == (1, first[1], first[1] - 1)
    assert post.store.call("ZCARD", "db_bcast:{p}") == 2


def test_the_same_key_is_the_same_broadcast(post: Post) -> None:
    first = post.broadcast("a", key="k")
    assert post.broadcast("a", key="k")[:2] == first[:2]
    assert post.store.call("ZCARD", "db_bcast:{p}") == 1


def test_a_new_device_starts_at_the_newest(post: Post) -> None:
    post.broadcast("before")
    assert shouts(post.login()) == []
    post.broadcast("after")
    assert shouts(post.login()) == ["after"]


def test_a_device_that_came_before_the_first_broadcast_gets_it(post: Post) -> None:
    assert post.login().backed == broadcasts.BEFORE_THE_FIRST
    post.broadcast("first")
    page = post.login()
    assert (shouts(page), page.gap) == (["first"], False)


def test_acked_broadcasts_are_not_given_again(post: Post) -> None:
    post.login()
    bseqs = [post.broadcast(text)[1] for text in "abc"]
    assert post.ack(bseq=bseqs[1]) == "ok"
    assert post.ack(bseq=bseqs[0]) == "ok"
    page = post.login()
    assert (shouts(page), page.backed, page.bseq) == (["c"], bseqs[1], bseqs[2])


def test_both_streams_are_acked_in_one_write(post: Post) -> None:
    post.login()
    seq, bseq = post.sends("a")[0], post.broadcast("b")[1]
    assert post.ack(seq=seq, bseq=bseq) == "ok"
    page = post.login()
    assert (page.acked, page.backed) == (seq, bseq)


def test_a_number_never_given_is_refused_and_neither_stream_moves(post: Post) -> None:
    post.login()
    seq, bseq = post.sends("a")[0], post.broadcast("b")[1]
    assert post.ack(seq=seq, bseq=bseq + 1) == "bseq"
    page = post.login()
    assert (texts(page), shouts(page)) == (["a"], ["b"])


def test_a_number_redis_forgot_in_a_restart_may_be_acked(post: Post) -> None:
    post.login()
    post.broadcast("a")
    lost = NOW_MS + 1_000
    post.restart()
    assert post.ack(bseq=lost) == "bseq"
    post.sleep(2)
    assert post.ack(bseq=lost) == "ok"


def test_messages_come_first_and_broadcasts_take_what_room_is_left(post: Post) -> None:
    post.login()
    post.sends("a", "b")
    for text in "cde":
        post.broadcast(text)
    first = post.load(limit=2)
    assert (texts(first), shouts(first), first.more) == (["a", "b"], [], True)
    second = post.load(limit=3, after=first.seq, bafter=first.bseq)
    assert (texts(second), shouts(second), second.more) == ([], ["c", "d", "e"], False)
    mixed = post.load(limit=3)
    assert (texts(mixed), shouts(mixed), mixed.more) == (["a", "b"], ["c"], True)


def test_bytes_bound_both_streams_together(post: Post) -> None:
    post.login()
    post.sends("aaaa")
    post.broadcast("bbbb")
    page = post.load(max_bytes=6)
    assert (texts(page), shouts(page), page.more) == (["aaaa"], [], True)
    alone = post.load(max_bytes=1, after=page.seq)
    assert (shouts(alone), alone.more) == (["bbbb"], False)


def test_without_bafter_inbox_gives_no_broadcasts(post: Post) -> None:
    post.login()
    post.broadcast("a")
    page = post.load(bafter=-1)
    assert (page.broadcasts, page.more, page.bseq) == ([], False, broadcasts.BEFORE_THE_FIRST)


def test_newer_ones_push_the_oldest_out_and_that_shows(store: Store) -> None:
    post = Post(store, broadcasts=3)
    post.login()
    mids = [post.broadcast(text)[0] for text in "abcde"]
    page = post.login()
    assert (shouts(page), page.gap) == (["c", "d", "e"], True)
    assert not post.load(bafter=page.bseq).gap
    assert store.call("HLEN", "db_bmeta:{p}") == 3 + len(("run_id", "cut"))
    assert [post.has_body(mid) for mid in mids] == [False, False, True, True, True]


def test_expired_ones_are_left_out_and_are_no_gap(store: Store) -> None:
    post = Post(store, broadcasts=3)
    post.login()
    post.broadcast("a", ttl=10)
    post.broadcast("b")
    post.broadcast("c", ttl=10)
    post.sleep(10)
    page = post.login()
    assert (shouts(page), page.gap, page.more) == (["b"], False, False)
    post.broadcast("d")
    page = post.login()
    assert (shouts(page), page.gap) == (["b", "d"], False)
    assert store.call("ZCARD", "db_bcast:{p}") == 3


def test_a_page_full_of_expired_ones_is_passed(post: Post) -> None:
    post.login()
    for n in range(20):
        post.broadcast(str(n), ttl=10)
    post.broadcast("end")
    post.sleep(10)
    assert shouts(post.load(limit=2)) == ["end"]


def test_products_never_meet(store: Store) -> None:
    post = Post(store, users=(ALICE, "q/alice"))
    post.login()
    post.login(user="q/alice")
    post.broadcast("of p", key="k")
    post.broadcast("of q", key="k", product="q")
    assert shouts(post.login()) == ["of p"]
    assert shouts(post.login(user="q/alice")) == ["of q"]


def test_a_key_of_a_message_to_somebody_is_another_ones_as_a_broadcasts(post: Post) -> None:
    post.login()
    assert post.send("to alice", key="k").mid != post.broadcast("to all", key="k")[0]
    page = post.login()
    assert (texts(page), shouts(page)) == (["to alice"], ["to all"])


def writes_of_a_broadcast(store: Store, users: int) -> dict[str, int]:
    store.call("FLUSHALL")
    post = Post(store)
    post.broadcast("warm")
    for begin in range(0, users, 1_000):
        numbers = range(begin, min(begin + 1_000, users))
        store.call("ZADD", "db_users:{p}", *(field for n in numbers for field in (n, f"u{n}")))
    store.call("CONFIG", "RESETSTAT")
    post.broadcast("to all", key="k")
    lines = store.call("INFO", "commandstats").decode().splitlines()
    calls = {
        line.split(":")[0]: int(line.split("calls=")[1].split(",")[0]) for line in lines if "calls=" in line
    }
    # How full Redis is, is read about once a second, whatever is sent.
    return {name: n for name, n in calls.items() if name not in ("cmdstat_config|resetstat", "cmdstat_info")}


def test_a_kept_broadcast_costs_the_same_for_10_users_and_for_100000(store: Store) -> None:
    few, many = writes_of_a_broadcast(store, 10), writes_of_a_broadcast(store, 100_000)
    assert few == many
    assert sum(many.values()) < 40


def test_moves_are_counted_per_broadcast(store: Store) -> None:
    for mid in range(1, 5):
        broadcasts.put(store, "p", mid, NOW_MS + 1_000, 1, NOW_MS, 100)
    moves = [(NOW_MS - 1, NOW_MS), (NOW_MS, NOW_MS + 2), (NOW_MS - 1, NOW_MS + 1)]
    assert broadcasts.passed(store, "p", moves) == {1: 2, 2: 2, 3: 1}


def test_users_are_not_written_to(store: Store) -> None:
    post = Post(store, users=None)
    userbook.note(store, [[f"p/u{n}", 1, 0] for n in range(10)])
    post.broadcast("a")
    assert store.call("KEYS", "db_s[lm]*") == []
