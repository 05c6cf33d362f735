from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from common.errors import BadField, Internal, NotFound, Unavailable
from common.net import saver as calls
from common.net.saver import SAVER, Saver
from common.net.store import Store
from tests.common.net.posting import ALICE, NOW_MS, Post
from tests.redis_server import RedisServer

TABLE = {
    *("mail_send", "mail_load", "mail_ack", "mail_seen", "device_mark", "bcast_send", "bcast_written"),
    *("ledger", "dead", "user_add", "user_info", "ban", "unban", "bans", "bans_of"),
    *("mail_load_many", "mail_newest", "mail_body", "tags_of", "logins_ended"),
}


@pytest.fixture
def post(store: Store) -> Post:
    """A saver on an empty Redis; alice exists."""
    return Post(store)


@pytest.fixture
def saver(post: Post) -> Saver:
    return post.saver


def is_plain(answer: Any) -> bool:
    """Say whether an answer survives a call unchanged, tuples apart."""
    packed = msgpack.packb(answer)
    return bool(msgpack.packb(msgpack.unpackb(packed, strict_map_key=False)) == packed)


def test_the_table_has_the_calls_others_make() -> None:
    assert set(SAVER) == TABLE


def test_a_message_is_sent_read_acked_and_asked_about(saver: Saver) -> None:
    mid, seqs, prevs = calls.mail_send(saver, "p", "bob", "k", 1 << 44, b"hello", [ALICE], 60.0, "d")
    assert (mid, seqs, prevs) == (1 << 44, {ALICE: NOW_MS}, {ALICE: 0})
    asked = calls.mail_load(saver, ALICE, "phone", None, None, 100, 262_144, True)
    assert asked == [[[NOW_MS, mid, b"hello"]], [], False, False, NOW_MS, 1, NOW_MS - 1, 1]
    assert calls.mail_ack(saver, [[ALICE, "phone", NOW_MS, None]]) == ["ok"]
    calls.mail_seen(saver, [[ALICE, "phone", NOW_MS + 1, None]])
    head, rows, following = calls.ledger(saver, "p", mid)
    assert (head["sender"], rows, following) == (
        "bob",
        [["alice", NOW_MS, "", [["phone", "acked", ""]]]],
        None,
    )
    assert calls.dead(saver, ALICE) == []
    assert all(map(is_plain, (asked, head, rows, calls.user_info(saver, ALICE))))


def test_the_newest_numbers_are_those_a_read_to_the_end_would_give(saver: Saver) -> None:
    calls.user_add(saver, "p/bob")
    calls.mail_send(saver, "p", "bob", "", 1 << 44, b"hello", [ALICE], None, "d")
    _, bseq, _ = calls.bcast_send(saver, "p", "", "", (1 << 44) + 1, b"all", None, "e")
    asked = calls.mail_newest(saver, [ALICE, "p/bob", "q/nobody"])
    assert asked == [[NOW_MS, 0, 0], {"p": bseq, "q": 1}]
    page = calls.mail_load(saver, ALICE, "phone", 0, 0, 100, 262_144, False)
    assert [asked[0][0], asked[1]["p"]] == page[4:6]


def test_the_body_of_a_message_can_be_asked_for_until_its_only_receiver_has_it(saver: Saver) -> None:
    mid, seqs, _ = calls.mail_send(saver, "p", "", "k", 1 << 44, b"first", [ALICE], None, "d")
    calls.mail_send(saver, "p", "", "k", (1 << 44) + 1, b"later", [ALICE], None, "d")
    assert calls.mail_body(saver, mid) == b"first"
    assert calls.mail_body(saver, mid + 1) is None
    calls.mail_load(saver, ALICE, "phone", None, None, 100, 262_144, True)
    calls.mail_ack(saver, [[ALICE, "phone", seqs[ALICE], None]])
    assert calls.mail_body(saver, mid) is None


def test_a_broadcast_is_sent_and_counted(saver: Saver) -> None:
    mid, bseq, prev = calls.bcast_send(saver, "p", "", "", 5, b"all", None, "d")
    assert (mid, bseq, prev) == (5, NOW_MS, 0)
    calls.bcast_written(saver, mid, 20_000)
    assert calls.ledger(saver, "p", mid)[0]["written"] == 20_000


SENDS = {
    "send": lambda saver, sender: calls.mail_send(saver, "p", sender, "", 1, b"x", [ALICE], None, "d"),
    "broadcast": lambda saver, sender: calls.bcast_send(saver, "p", sender, "", 1, b"x", None, "d"),
}


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS.keys())
def test_an_id_given_twice_ends_the_process_and_is_answered(post: Post, send: Any) -> None:
    send(post.saver, "bob")
    assert post.repeated == []
    with pytest.raises(Internal, match="given twice"):
        send(post.saver, "carol")
    assert len(post.repeated) == 1


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
def test_a_redis_that_stands_still_makes_keeping_unavailable_whether_it_is_done_or_not(
    own_redis: RedisServer, make_store: Callable[..., Store], send: Any
) -> None:
    post = Post(make_store(own_redis, timeout=0.2))
    own_redis.signal(signal.SIGSTOP)
    with pytest.raises(Unavailable, match="repeat it"):
        send(post.saver, "bob")


def test_receivers_of_another_product_are_refused(saver: Saver) -> None:
    with pytest.raises(BadField):
        calls.mail_send(saver, "q", "bob", "", 1, b"x", [ALICE], None, "d")
    with pytest.raises(BadField):
        calls.ledger(saver, "q", 1, None, 10, ALICE)
    with pytest.raises(BadField):
        calls.mail_load(saver, ALICE, "phone", None, None, 0, 100, True)


def test_a_user_is_made_without_a_login_and_then_gets_messages(saver: Saver) -> None:
    with pytest.raises(NotFound):
        calls.mail_send(saver, "p", "bob", "", 1, b"x", ["p/carol"], None, "d")
    assert [calls.user_add(saver, "p/carol") for _ in range(2)] == [2, 2]
    assert calls.mail_send(saver, "p", "bob", "", 1, b"x", ["p/carol"], None, "d")[1] == {"p/carol": NOW_MS}


def test_all_that_is_stored_of_a_user_is_told(saver: Saver) -> None:
    calls.mail_send(saver, "p", "bob", "", 1, b"hello", [ALICE], None, "d")
    calls.mail_load(saver, ALICE, "phone", None, None, 100, 262_144, True)
    calls.device_mark(saver, [[ALICE, "phone", ["ios"], 9]])
    calls.ban(saver, ALICE, 0)
    info = calls.user_info(saver, ALICE)
    phone = info.pop("devices")["phone"]
    assert info == {
        **{"sequence": 1, "seen": 1, "online": 0.0, "depth": 1, "bytes": 5, "dropped": 0},
        **{"seq": NOW_MS, "banned": 0},
    }
    assert (phone["acked"], phone["tags"], phone["ended"]) == (NOW_MS - 1, ("ios",), 9)
    assert calls.user_info(saver, "p/nobody")["sequence"] is None


def test_the_highest_login_epoch_ended_is_told_also_where_a_ban_ended_all(saver: Saver) -> None:
    calls.device_mark(saver, [[ALICE, "phone", None, 9], [ALICE, "phone", None, 7]])
    devices = [[ALICE, "phone"], [ALICE, "web"], ["p/nobody", "phone"]]
    assert calls.logins_ended(saver, devices) == [9, 0, 0]
    calls.ban(saver, ALICE, NOW_MS + 1)
    calls.unban(saver, ALICE)
    assert calls.logins_ended(saver, devices) == [NOW_MS * 1000, NOW_MS * 1000, 0]
    assert calls.user_info(saver, ALICE)["devices"] == {}


def test_bans_are_set_asked_for_and_lifted(saver: Saver) -> None:
    calls.ban(saver, ALICE, NOW_MS + 1)
    assert calls.bans(saver, "p") == {"alice": NOW_MS + 1}
    assert calls.bans_of(saver, [ALICE, "p/bob"]) == [NOW_MS + 1, None]
    assert calls.unban(saver, ALICE)
    assert calls.bans(saver, "p") == {}
