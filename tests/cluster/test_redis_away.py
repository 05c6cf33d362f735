"""Redis frozen, killed, gone, full: what is acknowledged is kept, what cannot be kept is refused at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from gevent import sleep, spawn

from common.keys import redis_url
from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Packet, Raw
from tests.cluster.shared.test_mail import enter, last_seq, make_users, numbers

AT_ONCE = 1.5
"""Seconds within which a message that cannot be kept is refused: one, and a half for a busy machine."""
HEAL_SECONDS = 15.0
ROOM, DURABLE = "plaza/redis-away", "plaza/keep.redis-away"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A ready cluster of one process each, but two dbservers."""
    with running({"cluster.gateways": 1, "cluster.sessions": 1, "cluster.maps": {"plaza": 1}}) as started:
        yield started


@pytest.fixture(autouse=True)
def all_is_well(cluster: Cluster) -> None:
    """No test begins before every dbserver has found Redis again."""
    cluster.wait_ready(HEAL_SECONDS)


def keep(raw: Raw, uid: str, data: Any, **fields: Any) -> tuple[Packet, float]:
    """Send a message to keep; give the answer and how long it took."""
    began = time.monotonic()
    answer = raw.request("send", {"to": uid, "data": data, "keep": True, **fields})
    return answer, time.monotonic() - began


def refused(raw: Raw, uid: str) -> None:
    """Fail unless keeping is unavailable, and that is said at once."""
    answer, seconds = keep(raw, uid, "refused")
    assert (answer[0], answer[2]["code"], answer[2]["retry"]) == ("error", "unavailable", True)
    assert seconds < AT_ONCE


def all_else_goes_on(cluster: Cluster, raw: Raw, uid: str) -> None:
    """Fail unless rooms, live messages and logins work."""
    offset = raw.ok("join", {"room": ROOM})["offset"]
    assert raw.ok("publish", {"room": ROOM, "data": "chat"})["offset"] == offset + 1
    with Raw(cluster.tcp(0)) as late:
        assert late.hello(cluster.token(uid))["inbox"] is None
        assert raw.ok("send", {"to": uid, "data": "live"})["online"] == 1
        assert late.wait_op("inbox")["data"] == "live"


def surely(raw: Raw, uid: str, data: Any) -> None:
    """Send until it is kept, with a key."""
    deadline = time.monotonic() + HEAL_SECONDS
    while (answer := keep(raw, uid, data, key=f"{uid}.{data}")[0])[0] != "ok":
        assert answer[2]["retry"], answer
        assert time.monotonic() < deadline, answer
        sleep(0.02)


def test_a_frozen_redis_refuses_within_a_second_from_the_first_message_on(cluster: Cluster) -> None:
    make_users(cluster, "frozen")
    with enter(cluster, "talker1") as talker:
        surely(talker, "frozen", "before")
        talker.ok("join", {"room": DURABLE})
        cluster.kill("redis-0", signal.SIGSTOP)
        try:
            for _ in range(5):
                refused(talker, "frozen")
                began = time.monotonic()
                assert talker.error("publish", {"room": DURABLE, "data": 1})["code"] == "unavailable"
                assert time.monotonic() - began < AT_ONCE
            all_else_goes_on(cluster, talker, "newcomer1")
        finally:
            cluster.kill("redis-0", signal.SIGCONT)
        surely(talker, "frozen", "after")
    with enter(cluster, "frozen") as raw:
        heard = numbers(raw, 2)
        assert (heard[0], heard[-1]) == ("before", "after")
        assert set(heard) <= {"before", "refused", "after"}, "what was under way may be there"


def write_at_once(path: Path, text: str) -> None:
    """Write a file that Redis may be about to read; half of it would be a configuration too."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_redis_that_is_gone_refuses_within_a_second_and_all_is_there_when_it_is_back(
    cluster: Cluster,
) -> None:
    make_users(cluster, "gone")
    configuration = cluster.run_dir / "redis.conf"
    good = configuration.read_text()
    with enter(cluster, "talker2") as talker, enter(cluster, "gone") as here:
        surely(talker, "gone", 1)
        assert numbers(here, 1) == [1]
        write_at_once(configuration, "this is no configuration\n")
        cluster.kill("redis-0")
        for _ in range(5):
            refused(talker, "gone")
        all_else_goes_on(cluster, talker, "newcomer2")
        write_at_once(configuration, good)
        surely(talker, "gone", 2)
        assert numbers(here, 2) == [1, 2]
    with enter(cluster, "gone") as again:
        assert numbers(again, 2) == [1, 2]


def test_redis_killed_again_and_again_loses_and_doubles_nothing_that_was_acknowledged(
    cluster: Cluster,
) -> None:
    make_users(cluster, "steady")
    sent = 0
    stop = False

    def send_all() -> None:
        nonlocal sent
        with enter(cluster, "talker3") as talker:
            while not stop:
                surely(talker, "steady", sent)
                sent += 1

    with enter(cluster, "steady") as here:
        sending = spawn(send_all)
        for _ in range(3):
            before = sent
            while sent < before + 20:
                assert not sending.dead, sending.exception
                sleep(0.01)
            cluster.wait_restarted("redis-0", cluster.kill("redis-0"))
        before = sent
        while sent < before + 5:
            sleep(0.01)
        stop = True
        sending.get()
        for number in range(sent):
            heard = numbers(here, number + 1)
            if number % 20 == 0:
                here.send("ack", {"seq": last_seq(here)}, 0)
        assert heard == list(range(sent))
    assert sent < 500, "none was pushed out"


def test_a_redis_at_its_limit_refuses_and_evicts_nothing(cluster: Cluster) -> None:
    make_users(cluster, "full")
    with (
        enter(cluster, "talker4") as talker,
        redis.Redis.from_url(
            redis_url(cluster.settings, cluster.places, cluster.secrets), protocol=2
        ) as client,
    ):
        for number in range(3):
            surely(talker, "full", number)
        keys = client.dbsize()
        client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
        try:
            for _ in range(5):
                refused(talker, "full")
            with enter(cluster, "full") as raw:
                assert raw.ok("inbox", {"after": 0})["messages"][-1]["data"] == 2
        finally:
            client.config_set("maxmemory", 1 << 30)
        assert client.info("stats")["evicted_keys"] == 0
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.dbsize() >= keys
        surely(talker, "full", 3)
    with enter(cluster, "full") as raw:
        assert numbers(raw, 4) == [0, 1, 2, 3]
