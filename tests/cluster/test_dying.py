"""Kept messages while the process they pass through dies, at the worst instant."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from gevent import sleep

from tests.cluster.cluster import Cluster
from tests.cluster.redis_proxy import RedisProxy
from tests.cluster.shared.test_mail import enter, last_seq, make_users, numbers
from tests.redis_server import running

SETTINGS = {"cluster.sessions": 1, "cluster.maps": {"plaza": 1}, "rpc.timeout": 2.0}


@dataclass
class Scene:
    cluster: Cluster
    proxy: RedisProxy


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """A cluster of two gateways and two dbservers that reaches its Redis through a proxy."""
    with running() as server:
        proxy = RedisProxy(server.folder / "proxy.sock", server.socket)
        cluster = Cluster(SETTINGS | {"redis.url": proxy.url})
        try:
            cluster.wait_ready()
            yield Scene(cluster, proxy)
        finally:
            cluster.stop()
            proxy.close()


def heard_once(cluster: Cluster, uid: str, expected: list[Any]) -> None:
    """Fail unless the user's mailbox has exactly this, each once."""
    with enter(cluster, uid) as raw:
        assert numbers(raw, len(expected)) == expected
        assert raw.request("ping", {})[0] == "pong"
        assert [body["data"] for op, _, body in raw.seen if op == "inbox"] == expected


@pytest.mark.parametrize("key", ["", "the-key"], ids=["without a key", "with a key"])
def test_a_dbserver_killed_between_append_and_answer_doubles_nothing(scene: Scene, key: str) -> None:
    cluster, uids = scene.cluster, [f"append{len(key)}.{number}" for number in range(3)]
    make_users(cluster, *uids)
    pids = {name: cluster.pid(name) for name in cluster.places.dbservers}
    fields = {"key": key} if key else {}
    with enter(cluster, "sender1") as sender, enter(cluster, uids[0], gateway=1) as here:
        scene.proxy.arm(f"db_smid:{{demo/{uids[0]}}}".encode())
        number = sender.send("send", {"to": uids, "data": "once", "keep": True, **fields})
        killed = scene.proxy.wait()
        assert killed in pids.values()
        op, _, answer = sender.wait(lambda packet: packet[1] == number)
        assert (op, answer["online"]) == ("ok", 1), "another dbserver went on with it"
        if key:
            again = sender.ok("send", {"to": uids, "data": "once", "keep": True, **fields})
            assert again["mid"] == answer["mid"]
        sender.ok("send", {"to": uids, "data": "next", "keep": True})
        assert numbers(here, 2) == ["once", "next"]
    cluster.wait_healed({name: pid for name, pid in pids.items() if pid == killed})
    for uid in uids:
        heard_once(cluster, uid, ["once", "next"])


def test_what_is_sent_while_the_receivers_gateway_dies_is_not_lost(scene: Scene) -> None:
    cluster = scene.cluster
    make_users(cluster, "receiver")
    with enter(cluster, "sender2") as sender, enter(cluster, "receiver", gateway=1) as first:
        sender.ok("send", {"to": "receiver", "data": 0, "keep": True})
        assert numbers(first, 1) == [0]
        first.ok("ack", {"seq": last_seq(first)})
        cluster.kill("gateway-1", signal.SIGSTOP)  # it takes what comes, and does nothing with it
        for number in range(1, 11):
            reply = sender.ok("send", {"to": "receiver", "data": number, "keep": True})
            assert reply["online"] == 1, "nobody knows yet that its gateway is dying"
        old = cluster.kill("gateway-1")
        first.wait_end()
        assert [body["data"] for op, _, body in first.seen if op == "inbox"] == [0]
        with enter(cluster, "receiver") as second:
            seen = last_seq(first)
            sender.ok("send", {"to": "receiver", "data": 11, "keep": True})
            while not second.seen or second.seen[-1][2].get("data") != 11:
                second.wait_op("inbox")
            fresh = [body for op, _, body in second.seen if op == "inbox" and body["seq"] > seen]
            assert [body["data"] for body in fresh] == list(range(1, 12))
            assert not any("gap" in body for body in fresh)
    cluster.wait_healed({"gateway-1": old})


def test_what_is_sent_through_a_gateway_that_dies_is_there_once_when_it_is_repeated(scene: Scene) -> None:
    cluster = scene.cluster
    make_users(cluster, "waiter")
    request = {"to": "waiter", "data": "x", "keep": True, "key": "through-a-dying-gateway"}
    with enter(cluster, "waiter") as here:
        with enter(cluster, "sender3", gateway=1) as sender:
            sender.send("send", request)
            old = cluster.kill("gateway-1")
            sender.wait_end()
        with enter(cluster, "sender3") as sender:
            deadline = time.monotonic() + 15
            while (answer := sender.request("send", request))[0] != "ok":
                assert answer[2]["retry"], answer
                assert time.monotonic() < deadline, answer
                sleep(0.05)
            sender.ok("send", {"to": "waiter", "data": "y", "keep": True})
        assert numbers(here, 2) == ["x", "y"]
        assert [body["data"] for op, _, body in here.seen if op == "inbox"] == ["x", "y"]
    cluster.wait_healed({"gateway-1": old})


def test_a_receiver_is_told_although_the_session_that_was_to_tell_it_dies(scene: Scene) -> None:
    cluster = scene.cluster
    make_users(cluster, "told")
    with enter(cluster, "sender4") as sender, enter(cluster, "told", gateway=1) as here:
        cluster.kill("session-0", signal.SIGSTOP)
        number = sender.send("send", {"to": "told", "data": "late", "keep": True})
        sleep(0.05)
        old = cluster.kill("session-0")
        op, _, answer = sender.wait(lambda packet: packet[1] == number)
        assert (op, answer["online"]) == ("ok", 0), "it is kept"
        assert numbers(here, 1) == ["late"], "though nothing else came"
    cluster.wait_healed({"session-0": old})
