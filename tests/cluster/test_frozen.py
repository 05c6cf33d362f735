"""SIGSTOP, and SIGCONT 20 s later: a frozen process fences itself, and its clients end up right."""

from __future__ import annotations

import json
import signal
import time
from urllib.request import urlopen

import pytest
from gevent import sleep, spawn

from tests.cluster.cluster import FULL, Cluster
from tests.cluster.raw import Raw
from tests.cluster.test_kills import check_durable, check_ephemeral, room_of_world
from tests.cluster.traffic import Traffic

FROZEN_SECONDS = 20.0 if FULL else 14.0
"""Longer than it takes to be called gone."""
HEAL_SECONDS = 15.0
PAUSE = 0.1


def term_of(cluster: Cluster, name: str) -> int:
    """Give the lease term a process has by its own word."""
    group, _, index = name.rpartition("-")
    with urlopen(f"{cluster.center_url()}/v1/status", timeout=10) as reply:
        rows = json.load(reply)["processes"]
    return next(int(row["term"]) for row in rows if (row["group"], row["index"]) == (group, int(index)))


def freeze(cluster: Cluster, name: str) -> None:
    """Stop a process, let it go on, and wait until all is well."""
    before = term_of(cluster, name)
    cluster.kill(name, signal.SIGSTOP)
    sleep(FROZEN_SECONDS)
    cluster.kill(name, signal.SIGCONT)
    cluster.wait_ready(HEAL_SECONDS)
    deadline = time.monotonic() + HEAL_SECONDS
    while term_of(cluster, name) == before:
        assert time.monotonic() < deadline, f"{name} did not raise its term"
        sleep(0.05)


def test_a_frozen_world_goes_on_where_it_was(cluster: Cluster) -> None:
    ephemeral = Traffic(cluster, room_of_world(cluster, "world-0", "plaza/ice.{}"), 3, gateways=2)
    durable = Traffic(cluster, room_of_world(cluster, "world-0", "plaza/keep.ice.{}"), 3, gateways=2)
    for traffic in (ephemeral, durable):
        traffic.start(count=round((FROZEN_SECONDS + 4) / PAUSE), pause=PAUSE)
    sleep(1.0)
    freeze(cluster, "world-0")
    for traffic in (ephemeral, durable):
        traffic.finish()
    repeated = [witness.repeat_refused() for witness in durable.witnesses]
    for traffic in (ephemeral, durable):
        traffic.settle()
        traffic.check()
    check_ephemeral(ephemeral, world_was_killed=False)
    check_durable(durable, repeated)
    ephemeral.close()
    durable.close()


def test_users_of_a_frozen_session_are_unknown_not_offline_and_known_again_after(cluster: Cluster) -> None:
    uid = next(f"ice{n}" for n in range(100) if cluster.places.session_of(f"demo/ice{n}") == "session-0")
    watcher = next(f"w{n}" for n in range(100) if cluster.places.session_of(f"demo/w{n}") == "session-1")
    with Raw(cluster.tcp(0)) as user, Raw(cluster.tcp(1)) as other:
        user.hello(cluster.token(uid))
        other.hello(cluster.token(watcher))
        assert other.ok("watch", {"users": [uid]})["users"] == [{"uid": uid, "online": True}]
        frozen = spawn(freeze, cluster, "session-0")
        sleep(6.0)
        reply = other.ok("presence", {"users": [uid]})
        assert (reply["users"], reply["unknown"]) == ([], [uid])
        frozen.get()
        reply = other.ok("presence", {"users": [uid]})
        assert [row["uid"] for row in reply["users"]] == [uid]
        assert user.request("ping", {})[0] == "pong", "the user was not thrown out"
        assert not [
            packet for packet in other.seen if packet[0] == "presence" and packet[2]["online"] is False
        ]


def test_a_frozen_gateway_kicks_logins_that_went_elsewhere_and_tells_the_others_what_they_missed(
    cluster: Cluster,
) -> None:
    room = "plaza/thaw"
    with (
        Raw(cluster.tcp(0), 30) as moved,
        Raw(cluster.tcp(0), 30) as stayed,
        Raw(cluster.tcp(1), 30) as again,
    ):
        moved.hello(cluster.token("mover"), device="phone")
        stayed.hello(cluster.token("stayer"))
        before = stayed.ok("join", {"room": room})
        frozen = spawn(freeze, cluster, "gateway-0")
        sleep(5.0)
        again.hello(cluster.token("mover"), device="phone")
        again.ok("join", {"room": room})
        last = [again.ok("publish", {"room": room, "data": number})["offset"] for number in range(5)][-1]
        frozen.get()
        assert moved.wait_op("kick")["code"] == "restart"
        gap = stayed.wait_op("gap")
        assert (gap["epoch"], gap["offset"], gap["reason"]) == (before["epoch"], last, "lost")
        said = again.ok("publish", {"room": room, "data": "after"})
        assert stayed.wait_op("message")["offset"] == said["offset"]
        assert again.request("ping", {})[0] == "pong"
        seen = [packet for packet in stayed.seen if packet[0] == "message"]
        assert [packet[2]["data"] for packet in seen] == ["after"], "nothing stale was written"


@pytest.mark.parametrize("first", ["gateway", "world"])
def test_any_starting_order_ends_in_a_ready_cluster(cluster: Cluster, first: str) -> None:
    names = [name for name in cluster.supervised() if not name.startswith(("redis", "center"))]
    names.sort(key=lambda name: not name.startswith(first))
    pids = {name: cluster.kill(name) for name in names}
    cluster.wait_healed(pids, 30)
