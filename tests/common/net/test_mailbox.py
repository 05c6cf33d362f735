from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.errors import BadField, NotFound, Unavailable
from common.net.mailbox import dead
from common.net.store import Store
from tests.common.net.posting import ALICE, DAY, NOW_MS, Post, texts
from tests.redis_server import RedisServer

JUMP = 2**20


@pytest.fixture
def post(store: Store) -> Post:
    """A saver on an empty Redis; alice exists."""
    return Post(store)


# Numbers.


def test_a_new_mailbox_begins_at_unix_ms_and_counts_by_one(post: Post) -> None:
    assert post.sends("a", "b", "c") == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


def test_each_message_tells_the_number_before_it(post: Post) -> None:
    assert post.send("a").prevs == {ALICE: 0}
    post.ack(seq=post.login().seq)
    assert post.send("b").prevs == {ALICE: NOW_MS}


def test_the_first_message_after_a_login_follows_the_position_the_login_gave(post: Post) -> None:
    position = post.login().acked
    sent = post.send("a")
    assert sent.prevs[ALICE] == position < sent.seqs[ALICE]


def test_a_mid_that_is_known_keeps_its_number_and_is_stored_once(post: Post) -> None:
    first = post.send("a", mid=7).seqs
    post.send("b", mid=8)
    again = post.send("a", mid=7)
    assert again.seqs == first
    assert again.prevs == {ALICE: first[ALICE] - 1}
    assert texts(post.login()) == ["a", "b"]


def test_after_a_restart_of_redis_numbers_jump_once(post: Post) -> None:
    (first,) = post.sends("a")
    post.restart()
    assert post.sends("b", "c") == [first + JUMP + 1, first + JUMP + 2]


def test_a_number_is_never_given_twice_though_redis_lost_its_end(post: Post) -> None:
    post.sends("a")
    dump = post.store.call("DUMP", f"db_smeta:{{{ALICE}}}")
    lost = post.sends(*"bcdef")
    post.store.call("RESTORE", f"db_smeta:{{{ALICE}}}", 0, dump, "REPLACE")
    post.restart()
    assert min(post.sends("g")) > max(lost)


def test_two_restarts_that_lose_the_same_end_give_no_number_twice(post: Post) -> None:
    post.sends("a")
    dumps = {key: post.store.call("DUMP", key) for key in post.store.call("KEYS", "db_s*{p/alice}")}
    given: set[int] = set()
    for life in range(4):
        post.sleep(0.02)
        post.restart()
        for key, dump in dumps.items():
            post.store.call("RESTORE", key, 0, dump, "REPLACE")
        seqs = post.sends(*(f"{life}/{n}" for n in range(10)))
        assert not given & set(seqs)
        given |= set(seqs)


def test_a_mailbox_that_is_lost_altogether_goes_on_above(post: Post) -> None:
    before = post.sends(*"abc")
    post.sleep(1)
    post.restart(forget=[f"{name}:{{{ALICE}}}" for name in ("db_slots", "db_smeta", "db_smid")])
    assert min(post.sends("d")) > max(before)


def test_mids_are_remembered_up_to_their_number(store: Store) -> None:
    post = Post(store, items=10, known_mids=50)
    post.sends(*(str(n) for n in range(120)))
    assert 50 <= store.call("ZCARD", f"db_smid:{{{ALICE}}}") < 66
    assert post.send("119", mid=120).seqs == {ALICE: NOW_MS + 119}


# Loading.


def test_a_device_that_comes_for_the_first_time_starts_at_the_oldest_kept(post: Post) -> None:
    post.sends("a", "b")
    inbox = post.login()
    assert (texts(inbox), inbox.gap, inbox.more) == (["a", "b"], False, False)
    assert inbox.acked == NOW_MS - 1


def test_a_device_of_an_empty_mailbox_gets_all_that_follows(post: Post) -> None:
    assert texts(post.login()) == []
    post.sends("a")
    assert texts(post.login()) == ["a"]


def test_pages_follow_each_other_without_a_hole(post: Post) -> None:
    post.sends(*(str(n) for n in range(25)))
    post.login()
    found: list[str] = []
    after, more = None, True
    while more:
        page = post.load(after=after, limit=7)
        found += texts(page)
        after, more = page.seq, page.more
    assert found == [str(n) for n in range(25)]


@pytest.mark.parametrize("after", range(-2, 14))
def test_every_position_is_found(post: Post, after: int) -> None:
    seqs = post.sends(*"abcdef")
    post.restart()
    seqs += post.sends(*"ghijkl")
    position = seqs[min(after, 11)] if after >= 0 else NOW_MS - 100
    page = post.load(after=position)
    assert [seq for seq, _, _ in page.messages] == [seq for seq in seqs if seq > position]


LIMITS = {
    "items": (dict(limit=2), ["aa", "bb"]),
    "bytes": (dict(max_bytes=5), ["aa", "bb"]),
    "one is given however large": (dict(max_bytes=1), ["aa"]),
}


@pytest.mark.parametrize(("asked", "given"), LIMITS.values(), ids=LIMITS.keys())
def test_a_page_ends_at_its_limits_and_says_that_more_follows(
    post: Post, asked: dict[str, Any], given: list[str]
) -> None:
    post.sends("aa", "bb", "cc")
    page = post.login(**asked)
    assert (texts(page), page.more) == (given, True)
    assert page.seq == page.messages[-1][0]


def test_a_page_that_only_inbox_asked_for_writes_nothing(post: Post) -> None:
    post.sends("a")
    before = post.store.call("HGETALL", f"db_smeta:{{{ALICE}}}")
    assert texts(post.load("tablet")) == ["a"]
    assert post.store.call("HGETALL", f"db_smeta:{{{ALICE}}}") == before


def test_what_has_expired_is_left_out_and_is_no_gap(post: Post) -> None:
    post.send("a", ttl=10)
    post.send("b")
    post.send("c", ttl=10)
    post.sleep(10)
    page = post.login()
    assert (texts(page), page.gap, page.more) == (["b"], False, False)
    assert page.seq == NOW_MS + 2


def test_a_page_full_of_expired_messages_is_passed_to_what_lives_behind_them(post: Post) -> None:
    for n in range(20):
        post.send(str(n), ttl=10)
    post.send("end")
    post.sleep(10)
    assert texts(post.login(limit=1)) == ["end"]


def test_a_message_whose_body_is_lost_shows_as_a_gap(post: Post) -> None:
    post.sends("a", "b")
    post.store.call("HDEL", "db_buckets:0", 1)
    fresh = Post(post.store)
    page = fresh.login()
    assert (texts(page), page.gap) == (["b"], True)


def test_the_same_body_is_asked_of_redis_once(post: Post) -> None:
    post.sends("a")
    post.store.call("DEL", "db_buckets:0")
    assert texts(post.login()) == ["a"]


# Acks.


def test_what_is_acked_is_not_given_again(post: Post) -> None:
    seqs = post.sends("a", "b", "c")
    post.login()
    assert post.ack(seq=seqs[1]) == "ok"
    inbox = post.login()
    assert (texts(inbox), inbox.acked) == (["c"], seqs[1])


def test_an_ack_never_moves_down(post: Post) -> None:
    seqs = post.sends("a", "b", "c")
    post.login()
    post.ack(seq=seqs[1])
    assert post.ack(seq=seqs[0]) == "ok"
    assert post.login().acked == seqs[1]


def test_an_ack_above_the_last_number_given_is_refused_and_changes_nothing(post: Post) -> None:
    (seq,) = post.sends("a")
    post.login()
    assert post.ack(seq=seq + 1) == "seq"
    assert post.ack("stranger", seq=seq + 1) == "seq"
    assert texts(post.login()) == ["a"]
    assert list(post.store.call("HKEYS", f"db_smeta:{{{ALICE}}}")).count(b"p/stranger") == 0


def test_a_mailbox_redis_lost_takes_acks_up_to_now_and_gives_what_follows(post: Post) -> None:
    assert post.ack(seq=NOW_MS + 1) == "seq"
    assert post.ack(seq=NOW_MS) == "ok"
    post.sends("a")
    assert texts(post.login()) == ["a"]


def test_a_number_redis_forgot_in_a_restart_may_be_acked_and_is_not_given_again(post: Post) -> None:
    post.login()
    post.sends("a")
    dump = post.store.call("DUMP", f"db_smeta:{{{ALICE}}}")
    lost = post.sends("b", "c")[-1]
    post.store.call("RESTORE", f"db_smeta:{{{ALICE}}}", 0, dump, "REPLACE")
    post.restart()
    assert post.ack(seq=lost) == "ok"
    post.sends("d")
    assert "d" in texts(post.login())


def test_the_list_is_cut_to_the_lowest_position_of_all_devices(post: Post) -> None:
    seqs = post.sends(*"abcd")
    post.login("phone")
    post.login("web")
    post.ack("phone", seq=seqs[3])
    assert post.kept() == seqs
    post.ack("web", seq=seqs[1])
    assert post.kept() == seqs[2:]
    assert (post.meta("bytes"), post.meta("dropped")) == (2, 0)
    post.ack("web", seq=seqs[3])
    assert (post.kept(), post.meta("bytes")) == ([], 0)


def test_a_single_receivers_body_goes_with_its_slot_and_a_shared_one_stays(store: Store) -> None:
    post = Post(store, users=(ALICE, "p/carol"))
    one, many = post.send("one"), post.send("many", ALICE, "p/carol")
    post.login()
    assert post.has_body(one.mid)
    post.ack(seq=many.seqs[ALICE])
    assert (post.has_body(one.mid), post.has_body(many.mid)) == (False, True)
    assert texts(post.login(user="p/carol")) == ["many"]


def test_a_repeat_after_the_ack_leaves_no_body_behind(post: Post) -> None:
    post.send("a", mid=1)
    post.ack(seq=post.login().seq)
    post.send("a", mid=1)
    assert not post.has_body(1)
    assert texts(post.login()) == []


# Limits.


def test_newer_messages_push_the_oldest_out_and_that_shows(store: Store) -> None:
    post = Post(store, items=5)
    post.login()
    seqs = post.sends(*(str(n) for n in range(8)))
    assert post.kept() == seqs[3:]
    page = post.login()
    assert (texts(page), page.gap) == (["3", "4", "5", "6", "7"], True)
    assert post.meta("dropped") == 3
    assert not post.has_body(1) and post.has_body(4)


def test_a_mailbox_is_bounded_in_bytes_too_and_keeps_the_newest_always(store: Store) -> None:
    post = Post(store, bytes=2_048)
    post.sends("a" * 1_000, "b" * 1_000)
    post.send("c" * 500)
    assert [text[0] for text in texts(post.login())] == ["b", "c"]
    assert post.meta("bytes") == 1_500
    post.send("d" * 5_000)
    assert [text[0] for text in texts(post.login())] == ["d"]


def test_a_gap_is_told_once_read_past_and_again_if_not_acked(store: Store) -> None:
    post = Post(store, items=2)
    post.login()
    post.sends(*"abc")
    first = post.login(limit=1)
    assert first.gap and not post.load(after=first.seq).gap
    assert post.login().gap
    post.ack(seq=first.seq)
    assert not post.login().gap


def test_a_gap_is_told_by_a_mailbox_with_nothing_left(store: Store) -> None:
    post = Post(store, items=1)
    post.login("phone")
    post.login("web")
    seqs = post.sends("a", "b")
    post.sleep(8 * DAY)
    post.ack("web", seq=seqs[1])
    page = post.login("phone")
    assert (texts(page), page.gap, page.seq) == ([], True, seqs[1])
    assert not post.load("phone", after=page.seq).gap


def test_a_device_that_had_all_that_was_dropped_hears_of_no_gap(store: Store) -> None:
    post = Post(store, items=2)
    post.login("phone")
    post.login("web")
    seqs = post.sends("a", "b")
    post.ack("phone", seq=seqs[1])
    post.sends("c", "d")
    assert (texts(post.login("phone")), post.login("phone").gap) == (["c", "d"], False)
    assert post.login("web").gap


def test_expired_messages_make_room_first_and_are_no_gap(store: Store) -> None:
    post = Post(store, items=4)
    post.login()
    post.send("a")
    for text in "bcd":
        post.send(text, ttl=10)
    post.sleep(10)
    post.send("e")
    page = post.login()
    assert (texts(page), page.gap, post.meta("dropped")) == (["a", "e"], False, 0)
    assert post.meta("bytes") == 2
    assert not post.has_body(2)


def test_an_expired_head_that_is_pushed_out_is_no_gap(store: Store) -> None:
    post = Post(store, items=2)
    post.login()
    post.send("a", ttl=10)
    post.sleep(10)
    post.sends("b", "c")
    page = post.login()
    assert (texts(page), page.gap) == (["b", "c"], False)


def test_a_mailbox_and_its_bodies_are_forgotten_a_day_after_the_longest_ttl(post: Post) -> None:
    post.login()
    post.sends("a")
    ttls = [
        post.store.call("TTL", f"{name}:{{{ALICE}}}") / DAY for name in ("db_slots", "db_smeta", "db_smid")
    ]
    assert all(30 < ttl <= 31 for ttl in ttls)
    assert 29.9 < post.store.call("TTL", "db_buckets:0") / DAY < 30.1
    post.ack(seq=post.login().seq)
    post.sends("b")
    assert post.store.call("TTL", f"db_slots:{{{ALICE}}}") > 30 * DAY


# Devices.


def test_a_device_six_days_away_and_2000_behind_gets_the_newest_500(post: Post) -> None:
    post.login()
    post.sleep(6 * DAY)
    for n in range(2_000):
        post.send(str(n))
    page = post.login()
    assert texts(page) == [str(n) for n in range(1_500, 2_000)]
    assert page.gap


def test_a_device_eight_days_away_gets_what_the_others_left(post: Post) -> None:
    post.login("phone")
    post.login("web")
    seqs = post.sends("a", "b")
    post.sleep(8 * DAY)
    post.sends("c")
    post.login("web")
    post.ack("web", seq=seqs[1])
    page = post.login("phone")
    assert (texts(page), page.gap) == (["c"], True)


def test_a_device_six_days_away_holds_everything(post: Post) -> None:
    post.login("phone")
    post.login("web")
    seqs = post.sends("a", "b")
    post.sleep(6 * DAY)
    post.ack("web", seq=seqs[1])
    page = post.login("phone")
    assert (texts(page), page.gap) == (["a", "b"], False)


def test_a_device_that_flaps_loses_nothing(post: Post) -> None:
    post.login()
    post.sends("a", "b")
    for _ in range(20):
        page = post.connect(59)
        assert (texts(page), page.gap) == (["a", "b"], False)


def test_a_head_left_over_five_long_connections_is_passed_over(post: Post) -> None:
    mid = post.send("bad").mid
    post.sends("good")
    for _ in range(5):
        assert texts(post.connect(60)) == ["bad", "good"]
    page = post.connect(60)
    assert (texts(page), page.gap) == (["good"], True)
    assert dead(post.store, ALICE) == [(NOW_MS, mid, "unacked", post.now_ms - 60_000)]
    assert post.has_body(mid)
    page = post.login()
    assert (texts(page), page.gap) == (["good"], False)


def test_an_ack_begins_the_count_anew(post: Post) -> None:
    seqs = post.sends("a", "b")
    for _ in range(5):
        post.connect(60)
    post.ack(seq=seqs[0])
    for _ in range(5):
        assert texts(post.connect(60)) == ["b"]
    assert texts(post.connect(60)) == []


def test_a_head_is_a_dead_letter_once_all_devices_gave_it_up(post: Post) -> None:
    post.login("web")
    post.sends("bad")
    for _ in range(6):
        post.connect(60, "phone")
    for _ in range(4):
        assert texts(post.connect(60, "web")) == ["bad"]
    assert dead(post.store, ALICE) == []
    assert texts(post.connect(60, "web")) == ["bad"]
    assert texts(post.connect(60, "web")) == []
    assert [row[1:3] for row in dead(post.store, ALICE)] == [(1, "unacked")]
    assert post.kept() == []


def test_a_head_one_device_acked_is_no_dead_letter(post: Post) -> None:
    post.login("web")
    (seq,) = post.sends("bad")
    for _ in range(6):
        post.connect(60, "phone")
    assert post.kept() == [seq]
    post.ack("web", seq=seq)
    assert (post.kept(), dead(post.store, ALICE)) == ([], [])


def test_dead_letters_are_bounded(store: Store) -> None:
    post = Post(store, dead_items=2, head_loads=1)
    seqs = post.sends(*"abcd")
    for _ in range(5):
        post.connect(60)
    assert [row[0] for row in dead(store, ALICE)] == seqs[2:]


def test_the_device_longest_away_is_forgotten(store: Store) -> None:
    post = Post(store, devices=3)
    for name in ("a", "b", "c"):
        post.login(name)
        post.sleep(1)
    post.seen("a")
    post.sleep(1)
    post.login("d")
    fields = store.call("HKEYS", f"db_smeta:{{{ALICE}}}")
    assert {field[2:].decode() for field in fields if field[:2] == b"p/"} == {"a", "c", "d"}


def test_an_ack_remembers_a_device_too(post: Post) -> None:
    seqs = post.sends("a", "b")
    assert post.ack("phone", seq=seqs[0]) == "ok"
    assert texts(post.login("phone")) == ["b"]


def test_tags_and_the_highest_login_epoch_are_kept_per_device(post: Post) -> None:
    post.login()
    mark = post.saver.mailboxes.mark_script
    post.store.run([mark(ALICE, "phone", ["ios", "v2"], 7), mark(ALICE, "phone", None, 5)])
    assert post.store.call("HMGET", f"db_smeta:{{{ALICE}}}", "t/phone", "e/phone") == [b"ios v2", b"7"]
    post.store.run([mark(ALICE, "phone", [], 9)])
    assert post.store.call("HMGET", f"db_smeta:{{{ALICE}}}", "t/phone", "e/phone") == [None, b"9"]


# Who may get what.


def test_a_user_nobody_knows_is_named_and_nothing_is_stored(post: Post) -> None:
    with pytest.raises(NotFound) as raised:
        post.send("a", "p/nobody", ALICE, "p/noone", key="k")
    assert raised.value.facts == {"users": ["nobody", "noone"]}
    assert post.store.call("KEYS", "db_*{p/*") == [] == post.store.call("KEYS", "db_buckets*")


def test_equal_users_keys_and_devices_of_two_products_never_meet(store: Store) -> None:
    post = Post(store, users=(ALICE, "q/alice"))
    first = post.send("of p", key="k")
    second = post.send("of q", "q/alice", key="k", product="q")
    assert first.mid != second.mid
    assert texts(post.login()) == ["of p"]
    assert texts(post.login(user="q/alice")) == ["of q"]
    post.ack(seq=first.seqs[ALICE])
    assert texts(post.login(user="q/alice")) == ["of q"]
    keys = {key.decode() for key in store.call("KEYS", "db_[si][mdl]*")}
    assert {key for key in keys if "{p" in key} | {key for key in keys if "{q" in key} == keys


BAD = {
    "no receiver": (dict(users=[]), "to"),
    "too many receivers": (dict(users=[f"p/u{n}" for n in range(4)]), "to"),
    "no ttl": (dict(users=[ALICE], ttl=0), "ttl"),
    "a ttl above the longest": (dict(users=[ALICE], ttl=30 * DAY + 1), "ttl"),
}


@pytest.mark.parametrize(("asked", "field"), BAD.values(), ids=BAD.keys())
def test_what_is_out_of_bounds_is_refused(store: Store, asked: dict[str, object], field: str) -> None:
    post = Post(store, receivers=3)
    letter = post.letter("a", ttl=asked.get("ttl"))  # type: ignore[arg-type]
    with pytest.raises(BadField) as raised:
        post.saver.sender.send(letter, asked["users"], post.now_ms)  # type: ignore[arg-type]
    assert raised.value.facts["field"] == field
    assert store.call("KEYS", "db_slots*") == []


def test_a_redis_near_its_limit_keeps_nothing_new_and_drops_nothing_old(
    own_redis: RedisServer, make_store: Callable[..., Store]
) -> None:
    post = Post(make_store(own_redis))
    post.sends("a")
    used = int(str(own_redis.command("INFO", "memory")["used_memory"]))  # type: ignore[index]
    own_redis.command("CONFIG", "SET", "maxmemory", int(used / 0.9))
    later = Post(post.store, users=None)
    with pytest.raises(Unavailable, match="full to"):
        later.send("b", mid=2)
    with pytest.raises(Unavailable, match="full to"):
        later.broadcast("c", mid=3)
    assert texts(later.login()) == ["a"]
    assert later.ack(seq=NOW_MS) == "ok"
    assert own_redis.command("INFO", "stats")["evicted_keys"] == 0  # type: ignore[index]
    own_redis.command("CONFIG", "SET", "maxmemory", used * 4)
    assert Post(post.store, users=None).send("b", mid=2).seqs == {ALICE: NOW_MS + 1}
