"""Kept messages on a real cluster: stored, read at login, live, acknowledged."""

from __future__ import annotations

import time
from typing import Any

from gevent import spawn

from common.net.rpc import Callers, Context
from tests.cluster.cluster import Cluster
from tests.cluster.raw import Raw

WINDOW = 100


def make_users(cluster: Cluster, *uids: str) -> None:
    """Make users as PUT /v1/users does, without a login."""
    context = Context()
    callers = Callers(context, cluster.places, "test", cluster.settings.rpc)
    for uid in uids:
        callers.call("dbserver-0", "user_add", f"demo/{uid}")
    callers.close()
    context.destroy(linger=0)


def enter(cluster: Cluster, uid: str, device: str = "raw", gateway: int = 0) -> Raw:
    raw = Raw(cluster.tcp(gateway))
    raw.hello(cluster.token(uid), device=device)
    return raw


def numbers(raw: Raw, count: int) -> list[Any]:
    """Read until so many inbox messages have come; give their data, in order, repeats dropped by seq."""
    while len(data := _distinct(raw)) < count:
        raw.wait_op("inbox")
    return data


def _distinct(raw: Raw) -> list[Any]:
    last, data = 0, []
    for op, _, body in raw.seen:
        if op == "inbox" and body["seq"] > last:
            last = body["seq"]
            data.append(body["data"])
    return data


def last_seq(raw: Raw) -> int:
    return max(int(body["seq"]) for op, _, body in raw.seen if op == "inbox")


def test_a_message_waits_for_a_user_who_is_away_until_its_device_acks(cluster: Cluster) -> None:
    make_users(cluster, "away1")
    with enter(cluster, "sender1") as sender:
        reply = sender.ok("send", {"to": "away1", "data": "hello", "keep": True})
        assert reply["online"] == 0
    with enter(cluster, "away1") as first:
        assert first.wait_op("inbox") | {"time": 0} == {
            "seq": last_seq(first),
            "mid": reply["mid"],
            "uid": "sender1",
            "data": "hello",
            "time": 0,
        }
    with enter(cluster, "away1", gateway=1) as again:
        again.wait_op("inbox")
        again.ok("ack", {"seq": last_seq(again)})
    deadline = time.monotonic() + 10
    while True:
        with Raw(cluster.tcp(0)) as third:
            welcome = third.hello(cluster.token("away1"))
            if welcome["inbox"]["seq"] == last_seq(again):
                third.request("ping", {})
                assert not [op for op, *_ in third.seen if op == "inbox"]
                return
        assert time.monotonic() < deadline, "the ack was not stored"


def test_each_device_has_its_own_position(cluster: Cluster) -> None:
    make_users(cluster, "two")
    with enter(cluster, "two", "phone") as phone, enter(cluster, "two", "desk", 1) as desk:
        with enter(cluster, "sender2") as sender:
            reply = sender.ok("send", {"to": "two", "data": 1, "keep": True})
            assert reply["online"] == 1
        assert numbers(phone, 1) == numbers(desk, 1) == [1]
        phone.ok("ack", {"seq": last_seq(phone)})
    with enter(cluster, "two", "desk") as desk:
        assert numbers(desk, 1) == [1]


def test_backlog_and_live_are_one_stream_for_a_device_that_comes_and_goes(cluster: Cluster) -> None:
    make_users(cluster, "flapping")

    def send_all() -> None:
        with enter(cluster, "sender3", gateway=1) as sender:
            for number in range(300):
                sender.ok("send", {"to": "flapping", "data": number, "keep": True, "key": f"k{number}"})

    sending = spawn(send_all)
    heard: list[int] = []
    last = 0
    deadline = time.monotonic() + 60
    while len(heard) < 300:
        assert time.monotonic() < deadline, heard[-3:]
        with enter(cluster, "flapping", gateway=len(heard) % 2) as raw:
            until = min(len(heard) + 15, 300)
            while len(heard) < until:
                body = raw.wait_op("inbox")
                assert not body.get("gap")
                if body["seq"] > last:
                    last = body["seq"]
                    heard.append(body["data"])
                    raw.send("ack", {"seq": last}, 0)
    sending.get()
    assert heard == list(range(300))


def test_a_key_sent_twice_is_one_message(cluster: Cluster) -> None:
    make_users(cluster, "once")
    with enter(cluster, "sender4") as sender, enter(cluster, "once") as receiver:
        request = {"to": "once", "data": "x", "keep": True, "key": "the-key"}
        first, second = sender.ok("send", request), sender.ok("send", request)
        assert first["mid"] == second["mid"]
        sender.ok("send", {"to": "once", "data": "y", "keep": True})
        assert numbers(receiver, 2) == ["x", "y"]


def test_an_unknown_receiver_is_named_and_nothing_is_stored(cluster: Cluster) -> None:
    make_users(cluster, "known")
    with enter(cluster, "sender5") as sender, enter(cluster, "known") as known:
        error = sender.error("send", {"to": ["known", "nobody"], "data": 1, "keep": True})
        assert (error["code"], error["users"]) == ("not_found", ["nobody"])
        sender.ok("send", {"to": "known", "data": 2, "keep": True})
        assert numbers(known, 1) == [2]


def test_no_more_than_the_window_is_sent_unacked(cluster: Cluster) -> None:
    make_users(cluster, "slow")
    with enter(cluster, "sender6") as sender, enter(cluster, "slow") as slow:
        for number in range(WINDOW + 50):
            sender.ok("send", {"to": "slow", "data": number, "keep": True})
        assert numbers(slow, WINDOW) == list(range(WINDOW))
        assert slow.request("ping", {})[0] == "pong"
        assert len(_distinct(slow)) == WINDOW
        slow.ok("ack", {"seq": last_seq(slow)})
        assert numbers(slow, WINDOW + 50) == list(range(WINDOW + 50))


def test_the_inbox_is_paged_without_moving_positions(cluster: Cluster) -> None:
    make_users(cluster, "paging")
    with enter(cluster, "sender7") as sender:
        for number in range(25):
            sender.ok("send", {"to": "paging", "data": number, "keep": True})
    with enter(cluster, "paging") as raw:
        found: list[int] = []
        after, more = 0, True
        while more:
            page = raw.ok("inbox", {"after": after, "limit": 10})
            found += [message["data"] for message in page["messages"]]
            after, more = page["seq"], page["more"]
        assert found == list(range(25))
        error = raw.error("ack", {"seq": after + 1_000_000})
        assert (error["code"], error["field"]) == ("bad_field", "seq")


def test_another_users_numbers_can_be_acked_by_nobody_else(cluster: Cluster) -> None:
    make_users(cluster, "owner", "thief")
    with enter(cluster, "sender9") as sender, enter(cluster, "thief", gateway=1) as thief:
        sender.ok("send", {"to": "thief", "data": "own", "keep": True})
        assert numbers(thief, 1) == ["own"]
        with enter(cluster, "owner") as owner:
            sender.ok("send", {"to": "owner", "data": 1, "keep": True})
            assert numbers(owner, 1) == [1]
            error = thief.error("ack", {"seq": last_seq(owner)})
            assert (error["code"], error["field"]) == ("bad_field", "seq")
            sender.ok("send", {"to": "owner", "data": 2, "keep": True})
            assert numbers(owner, 2) == [1, 2]
            assert owner.request("ping", {})[0] == "pong"
    with enter(cluster, "owner") as again:
        assert numbers(again, 2) == [1, 2], "nothing of it was acked"
    with enter(cluster, "thief") as thief:
        assert numbers(thief, 1) == ["own"]


def test_the_sender_hears_that_it_was_read(cluster: Cluster) -> None:
    make_users(cluster, "reader")
    with enter(cluster, "sender8") as sender, enter(cluster, "reader", "tablet", 1) as reader:
        reply = sender.ok("send", {"to": "reader", "data": 1, "keep": True, "receipt": True})
        numbers(reader, 1)
        reader.ok("ack", {"seq": last_seq(reader)})
        receipt = sender.wait_op("receipt")
        assert (receipt["mid"], receipt["uid"], receipt["device"]) == (reply["mid"], "reader", "tablet")
