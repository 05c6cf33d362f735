from __future__ import annotations

import re

import pytest

from common.errors import NotFound
from common.net import ledger
from common.net.store import Store
from tests.common.net.posting import ALICE, DAY, NOW_MS, Post


@pytest.fixture
def post(store: Store) -> Post:
    """A saver on an empty Redis; alice exists."""
    return Post(store)


def test_a_message_says_who_sent_it_to_whom_and_when(post: Post) -> None:
    sent = post.send("a", ttl=60)
    head, rows, following = ledger.read(post.store, "p", sent.mid, None, 10, None, post.now_ms)
    assert head == {
        "product": "p",
        "sender": "bob",
        "time": NOW_MS,
        "expires": NOW_MS + 60_000,
        "bseq": 0,
        "acked": 0,
        "written": 0,
    }
    assert (rows, following) == ([["alice", NOW_MS, "stored", []]], None)


def test_a_message_goes_from_stored_over_written_to_acked(post: Post) -> None:
    post.login("phone")
    post.login("web")
    mid, seqs, _ = post.send("a")
    assert post.states(mid) == {"alice": {"phone": "stored", "web": "stored"}}
    post.seen("web", written=seqs[ALICE])
    post.login("phone")
    assert post.states(mid) == {"alice": {"phone": "written", "web": "written"}}
    post.ack("phone", seq=seqs[ALICE])
    assert post.states(mid) == {"alice": {"phone": "acked", "web": "written"}}


def test_a_device_that_came_later_is_left_out(post: Post) -> None:
    post.login("phone")
    mid = post.send("a").mid
    post.ack("phone", seq=NOW_MS + 1)
    post.login("web")
    assert post.states(mid) == {"alice": {"phone": "acked"}}


def test_a_message_nobody_read_in_time_is_expired(post: Post) -> None:
    post.login()
    mid = post.send("a", ttl=10).mid
    post.sleep(10)
    assert post.states(mid) == {"alice": {"phone": "expired"}}


def test_a_device_that_acked_past_what_expired_did_not_get_it(post: Post) -> None:
    post.login("phone")
    post.login("web")
    mid = post.send("a", ttl=10).mid
    later = post.sends("b")[0]
    post.login("web")
    post.sleep(10)
    post.login("phone")
    post.ack("phone", seq=later)
    post.ack("web", seq=later)
    assert post.states(mid) == {"alice": {"phone": "expired", "web": "acked"}}


def test_what_was_pushed_out_is_dropped_for_those_that_had_not_acked_it(store: Store) -> None:
    post = Post(store, items=2)
    post.login("phone")
    post.login("web")
    mid, seqs, _ = post.send("a")
    post.ack("phone", seq=seqs[ALICE])
    newest = post.sends("b", "c")[-1]
    post.ack("web", seq=newest)
    assert post.states(mid) == {"alice": {"phone": "acked", "web": ("dropped", "trimmed")}}


def test_what_expired_ones_made_room_for_is_expired_not_dropped(store: Store) -> None:
    post = Post(store, items=2)
    post.login()
    mid = post.send("a", ttl=10).mid
    post.sends("b")
    post.sleep(10)
    post.ack(seq=post.sends("c")[0])
    assert post.states(mid) == {"alice": {"phone": "expired"}}


def test_a_user_without_devices_has_a_state_too(store: Store) -> None:
    post = Post(store, items=1)
    mids = [post.send("a").mid, post.send("b", ttl=10).mid]
    assert [post.states(mid)["alice"] for mid in mids] == ["dropped", "stored"]
    post.sleep(10)
    assert post.states(mids[1]) == {"alice": "expired"}


def test_a_device_away_for_too_long_shows_what_the_others_took(post: Post) -> None:
    post.login("phone")
    post.login("web")
    mid, seqs, _ = post.send("a")
    post.sleep(6 * DAY)
    post.login("web")
    post.sleep(1.5 * DAY)
    post.ack("web", seq=seqs[ALICE])
    assert post.states(mid) == {"alice": {"phone": ("dropped", "away"), "web": "acked"}}


def test_a_head_passed_over_is_dropped_as_unacked(post: Post) -> None:
    mid = post.send("bad").mid
    for _ in range(6):
        post.connect(60)
    assert post.states(mid) == {"alice": {"phone": ("dropped", "unacked")}}


def test_a_repeat_writes_the_same_row(post: Post) -> None:
    post.send("a", mid=1)
    before = post.store.call("HGETALL", "db_ledger:1")
    post.sleep(5)
    post.send("a", mid=1)
    assert post.store.call("HGETALL", "db_ledger:1") == before


def test_it_is_kept_for_seven_days(post: Post) -> None:
    mid = post.send("a").mid
    assert 6.9 < post.store.call("TTL", f"db_ledger:{mid}") / DAY <= 7
    post.store.call("DEL", f"db_ledger:{mid}")
    with pytest.raises(NotFound):
        post.states(mid)
    post.ack(seq=post.login().seq)
    assert not post.store.call("EXISTS", f"db_ledger:{mid}")


def test_a_message_of_another_product_does_not_exist(post: Post) -> None:
    mid = post.send("a").mid
    with pytest.raises(NotFound):
        ledger.read(post.store, "q", mid, None, 10, None, post.now_ms)
    with pytest.raises(NotFound):
        ledger.read(post.store, "p", 99, None, 10, None, post.now_ms)


def test_a_multicast_is_read_in_pages_in_order_of_uid(store: Store) -> None:
    users = [f"p/u{n:04}" for n in range(1_201)]
    post = Post(store, users=users)
    mid = post.send("a", *users).mid
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        _, rows, after = ledger.read(store, "p", mid, after, 500, None, post.now_ms)
        found += [row[0] for row in rows]
        pages += 1
    assert (found, pages) == ([user[2:] for user in users], 3)


def test_one_user_of_a_multicast_may_be_asked_for(store: Store) -> None:
    post = Post(store, users=(ALICE, "p/carol"))
    mid = post.send("a", ALICE, "p/carol").mid
    assert post.states(mid, "p/carol") == {"carol": "stored"}
    assert post.states(mid, "p/nobody") == {}


def test_a_user_named_like_a_field_does_no_harm(store: Store) -> None:
    names = ["p/product", "p/sender", "p/time", "p/acked"]
    post = Post(store, users=names)
    mid = post.send("a", *names).mid
    assert set(post.states(mid)) == {"acked", "product", "sender", "time"}


def test_a_broadcast_counts_acks_and_tells_of_one_user(post: Post) -> None:
    for name in ("phone", "web"):
        post.login(name)
    mid, bseq, _ = post.broadcast("a")
    post.ack("phone", bseq=bseq)
    post.ack("phone", bseq=bseq)
    post.login("late")
    head, rows, _ = ledger.read(post.store, "p", mid, None, 10, None, post.now_ms)
    assert (head["acked"], head["bseq"], rows) == (1, bseq, [])
    assert post.states(mid, ALICE) == {"alice": {"phone": "acked", "web": "stored"}}
    post.saver.store.run([ledger.count_script(mid, "written", 500)])
    assert ledger.read(post.store, "p", mid, None, 10, None, post.now_ms)[0]["written"] == 500


def test_in_a_redis_that_fills_up_the_ledger_gives_way_first(store: Store) -> None:
    post = Post(store, ledger_share=0.0)
    mid = post.send("a").mid
    post.broadcast("b")
    assert store.call("KEYS", "db_ledger*") == []
    assert post.login().messages == [[NOW_MS, mid, b"a"]]


def calls(store: Store, post: Post, count: int) -> tuple[int, int]:
    """Give how many commands a unicast costs, and bytes of memory."""
    before = int(store.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    store.call("CONFIG", "RESETSTAT")
    for _ in range(count):
        post.send("x" * 100)
    stats = re.findall(rb":calls=(\d+)", store.call("INFO", "commandstats"))
    after = int(store.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    return sum(map(int, stats)) // count, (after - before) // count


def test_its_extra_cost_is_one_call_and_a_few_hundred_bytes_a_message(store: Store) -> None:
    with_it = calls(store, Post(store), 200)
    store.call("FLUSHALL")
    without = calls(store, Post(store, ledger_share=0.0), 200)
    assert with_it[0] - without[0] <= 5  # the script and the four commands in it
    assert with_it[1] - without[1] < 400
