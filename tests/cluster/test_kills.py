"""kill -9 of any one process, under traffic: the cluster heals by itself and nothing goes missing unsaid."""

from __future__ import annotations

import time
from typing import Any

import pytest
from gevent import sleep

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import MakeCluster
from tests.cluster.traffic import Traffic

HEAL_SECONDS = 15.0
CLIENTS, MESSAGES, PAUSE = 5, 250, 0.05
VICTIMS = ("gateway-0", "function-0", "session-0", "dbserver-0", "center-0", "world")


def room_of_world(cluster: Cluster, world: str, pattern: str) -> str:
    """Give a room whose owner is this world process."""
    rooms = (pattern.format(number) for number in range(100))
    return next(room for room in rooms if cluster.places.world_of(f"demo/{room}") == world)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_killed_process_comes_back_and_nothing_goes_missing_unsaid(cluster: Cluster, victim: str) -> None:
    world = "world-0"
    ephemeral = Traffic(cluster, room_of_world(cluster, world, f"plaza/{victim}.{{}}"), CLIENTS, gateways=2)
    durable = Traffic(
        cluster, room_of_world(cluster, world, f"plaza/keep.{victim}.{{}}"), CLIENTS, gateways=2
    )
    for traffic in (ephemeral, durable):
        traffic.start(MESSAGES, PAUSE)
    sleep(2.0)

    name = world if victim == "world" else victim
    old = cluster.kill(name)
    killed_at = time.monotonic()
    cluster.wait_healed({name: old}, HEAL_SECONDS)
    healed_after = time.monotonic() - killed_at

    for traffic in (ephemeral, durable):
        traffic.finish()
        assert traffic.ok_share >= 0.8
    repeated = [witness.repeat_refused() for witness in durable.witnesses]
    for traffic in (ephemeral, durable):
        traffic.settle()
        traffic.check()
        assert all(witness.client.state == "live" for witness in traffic.witnesses)
    check_ephemeral(ephemeral, world_was_killed=victim == "world")
    check_durable(durable, repeated)
    ephemeral.close()
    durable.close()
    assert healed_after < HEAL_SECONDS


def check_ephemeral(traffic: Traffic, world_was_killed: bool) -> None:
    """Everybody heard everything, unless the world was killed: then everybody was told so."""
    announced = [bool(witness.announced) for witness in traffic.witnesses]
    if world_was_killed:
        assert all(announced), "each was told of the new epoch"
        return
    assert not any(announced), "an ephemeral room whose world lives loses nothing"
    heard = {place for witness in traffic.witnesses for place in witness.heard}
    for witness in traffic.witnesses:
        assert set(witness.heard) == heard
        assert set(witness.confirmed.values()) <= heard


def check_durable(traffic: Traffic, repeated: list[dict[str, tuple[Any, int]]]) -> None:
    """What was confirmed is stored where it was said to be, once, also when it was sent again."""
    stored = whole_history(traffic)
    for witness, again in zip(traffic.witnesses, repeated, strict=True):
        assert not witness.announced, "a durable room goes on where it was"
        for data, place in {**witness.confirmed, **again}.items():
            assert stored[data] == [place], f"{data} was confirmed at {place}"


def whole_history(traffic: Traffic) -> dict[str, list[tuple[Any, int]]]:
    """Give data -> places of all a room keeps."""
    client, room = traffic.witnesses[0].client, traffic.room
    epoch = client.position(room).epoch
    stored: dict[str, list[tuple[Any, int]]] = {}
    offset, more = 0, True
    while more:
        reply = client.history(room, since=(epoch, offset))
        assert reply.recovered
        for message in reply.messages:
            stored.setdefault(message.data, []).append((message.epoch, message.offset))
            offset = message.offset
        more = reply.more
    return stored


def test_a_room_rejoined_after_its_world_was_killed_is_not_called_recovered(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster({"cluster.gateways": 1, "cluster.sessions": 1, "cluster.dbservers": 1})
    traffic = Traffic(cluster, room_of_world(cluster, "world-0", "plaza/gone.{}"), clients=1, gateways=1)
    client = traffic.witnesses[0].client
    client.publish(traffic.room, "before")
    place = client.position(traffic.room)
    client.leave(traffic.room)
    old = cluster.kill("world-0")
    cluster.wait_healed({"world-0": old}, HEAL_SECONDS)
    reply = client.join(traffic.room, since=place)
    traffic.close()
    assert not reply.recovered
    assert reply.epoch != place.epoch
