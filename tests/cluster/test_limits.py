"""Every limit is a setting: made small here, and each one met with its answer from docs/protocol.md."""

from __future__ import annotations

import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.request import urlopen

import msgpack
import pytest

from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Packet, Raw

PACKETS, BYTES, ACCEPTS = 50, 40_000, 100
USER_PUBLISHES, ROOM_PUBLISHES = 20, 30
BURST = 2
"""Seconds of a rate that may come at once."""
ROOMS, WATCHES, DEVICES, IN_FLIGHT = 5, 10, 16, 20
HALF_OPEN, HALF_OPEN_PER_ADDRESS, CONNECTIONS = 20, 5, 40
PING, PARK_AFTER, REQUEST_TIMEOUT = 2, 0.2, 1.0
SETTINGS = {
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "cluster.maps": {"plaza": 1},
    "gateway.packets_per_second": PACKETS,
    "gateway.bytes_per_second": BYTES,
    "gateway.publishes_per_second": USER_PUBLISHES,
    "gateway.accept_per_second": ACCEPTS,
    "gateway.rooms_per_connection": ROOMS,
    "gateway.watches_per_connection": WATCHES,
    "gateway.requests_in_flight": IN_FLIGHT,
    "gateway.half_open": HALF_OPEN,
    "gateway.half_open_per_address": HALF_OPEN_PER_ADDRESS,
    "gateway.max_connections": CONNECTIONS,
    "gateway.ping": PING,
    "gateway.park_after": PARK_AFTER,
    "gateway.request_timeout": REQUEST_TIMEOUT,
    "gateway.hello_timeout": 4.0,
    "session.devices_per_user": DEVICES,
    "world.publishes_per_second": ROOM_PUBLISHES,
    "world.rooms": [
        {"pattern": "plaza/two.*", "member_limit": 2},
        {"pattern": "plaza/items.*", "history_items": 5},
        {"pattern": "plaza/bytes.*", "history_bytes": 2_000},
        {"pattern": "plaza/brief.*", "history_seconds": 1},
        {"pattern": "plaza/fleeting.*", "idle_seconds": 0.1},
        {"pattern": "plaza/keep.*", "durable": True},
        {"pattern": "plaza/keep5.*", "durable": True, "history_items": 5},
    ],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(SETTINGS) as started:
        yield started


@pytest.fixture
def member(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Callable[..., Raw]]:
    """Make clients that have logged in: `member(uid, gateway)`; uids are the test's own."""
    test = request.node.name.partition("[")[0][-40:]
    with ExitStack() as stack:

        def make(
            uid: str = "a", gateway: int = 0, device: str = "raw", room: str = "", **options: Any
        ) -> Raw:
            raw = stack.enter_context(Raw(cluster.tcp(gateway), **options))
            raw.hello(cluster.token(f"{uid}.{test}"), device=device)
            if room:
                raw.ok("join", {"room": room})
            return raw

        yield make


def framed(op: str, number: int, body: dict[str, Any]) -> bytes:
    packet: bytes = msgpack.packb([op, number, body])
    return struct.pack(">I", len(packet)) + packet


def at_once(raw: Raw, op: str, bodies: list[dict[str, Any]]) -> list[Packet]:
    """Send requests in one write; give their replies in the order asked."""
    numbers = range(1_000, 1_000 + len(bodies))
    raw.write(b"".join(framed(op, number, body) for number, body in zip(numbers, bodies, strict=True)))
    replies: dict[int, Packet] = {}
    while len(replies) < len(bodies):
        packet = raw.wait(lambda packet: packet[1] >= 1_000)
        replies[packet[1]] = packet
    return [replies[number] for number in numbers]


def refused(replies: list[Packet], code: str) -> list[dict[str, Any]]:
    """Give the bodies of the errors among replies; all must have this code, all others be fine."""
    errors = [body for op, _number, body in replies if op == "error"]
    assert {body["code"] for body in errors} <= {code}
    return errors


def parked_pings(cluster: Cluster) -> float:
    """Give how many pings gateway-0 has answered without a greenlet, as center's /metrics has it."""
    with urlopen(f"{cluster.center_url()}/metrics", timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    start = 'roost_gateway_pings_total{group="gateway",index="0"}'
    return next(float(line.removeprefix(start)) for line in lines if line.startswith(start))


# how fast


def test_packets_per_second_are_limited_and_reading_pauses(member: Callable[..., Raw]) -> None:
    raw = member()
    count = BURST * PACKETS + 30
    errors = refused(at_once(raw, "ping", [{}] * count), "rate_limited")
    assert 5 <= len(errors) <= 30
    assert all(error["retry"] and error["after"] > 0 for error in errors)
    deadline = time.monotonic() + 3
    while raw.request("ping", {})[0] != "pong":
        assert time.monotonic() < deadline


def test_parking_does_not_give_a_connection_a_new_burst(member: Callable[..., Raw]) -> None:
    raw, other = member(), member("b")
    assert not refused(at_once(raw, "ping", [{}] * (BURST * PACKETS - 10)), "rate_limited")
    until = time.monotonic() + 3 * PARK_AFTER
    while time.monotonic() < until:
        other.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            other.read()
    assert refused(at_once(raw, "ping", [{}] * (BURST * PACKETS - 10)), "rate_limited")


def test_bytes_per_second_are_limited_by_reading_more_slowly(member: Callable[..., Raw]) -> None:
    raw = member()
    began = time.monotonic()
    size, count = 16_000, 8
    replies = at_once(raw, "ping", [{"pad": bytes(size)}] * count)
    assert [packet[0] for packet in replies] == ["pong"] * count
    fastest = (size * count - BURST * BYTES) / BYTES
    assert time.monotonic() - began >= 0.8 * fastest


def test_publishes_of_a_user_are_limited_over_all_its_connections_and_rooms(
    member: Callable[..., Raw],
) -> None:
    rooms = ["plaza/rate1", "plaza/rate2"]
    first, second = (member(device=f"d{n}", room=rooms[n]) for n in range(2))
    half = BURST * USER_PUBLISHES // 2 + 5
    replies = [
        *(first.request("publish", {"room": rooms[0], "data": 1}) for _ in range(half)),
        *(second.request("publish", {"room": rooms[1], "data": 1}) for _ in range(half - 3)),
        second.request("send", {"to": "nobody", "data": 1}),
        second.request("publish", {"room": rooms[1], "data": 1}),
        second.request("publish", {"room": rooms[1], "data": 1}),
    ]
    errors = refused(replies, "rate_limited")
    assert 1 <= len(errors) <= 10
    assert all(error["after"] > 0 for error in errors)
    other = member("b", room=rooms[0])
    assert other.request("publish", {"room": rooms[0], "data": 1})[0] == "ok", "others are not touched"


def test_publishes_into_a_room_are_limited_over_all_users(member: Callable[..., Raw]) -> None:
    room = "plaza/popular"
    users = [member(uid, gateway, room=room) for uid, gateway in (("a", 0), ("b", 1))]
    count = BURST * ROOM_PUBLISHES // 2 + 5
    replies = []
    for _ in range(count):
        replies += [user.request("publish", {"room": room, "data": 1}) for user in users]
    errors = refused(replies, "rate_limited")
    assert 1 <= len(errors) <= 10
    assert all(error["after"] > 0 for error in errors)


def test_requests_without_an_answer_are_limited(member: Callable[..., Raw]) -> None:
    room = "plaza/flight"
    raw = member(room=room)
    replies = at_once(raw, "publish", [{"room": room, "data": 1}] * (IN_FLIGHT + 8))
    errors = refused(replies, "busy")
    assert len(errors) == 8
    assert all(error["retry"] and error["limit"] == IN_FLIGHT for error in errors)
    assert raw.request("publish", {"room": room, "data": 1})[0] == "ok"


def test_requests_behind_a_join_are_limited(member: Callable[..., Raw]) -> None:
    room = "plaza/behind"
    raw = member()
    packets = [framed("join", 500, {"room": room})]
    packets += [framed("publish", 1_000 + n, {"room": room, "data": n}) for n in range(IN_FLIGHT + 5)]
    raw.write(b"".join(packets))
    replies = [raw.wait(lambda packet: packet[1] >= 500) for _ in packets]
    assert len(refused(replies, "busy")) == 5


# how many


def test_rooms_of_a_connection_are_limited(member: Callable[..., Raw]) -> None:
    raw = member()
    replies = at_once(raw, "join", [{"room": f"plaza/many{n}"} for n in range(ROOMS + 2)])
    errors = refused(replies, "full")
    assert [error["limit"] for error in errors] == [ROOMS] * 2
    raw.ok("join", {"room": "plaza/many0"})
    raw.ok("leave", {"room": "plaza/many0"})
    raw.ok("join", {"room": "plaza/many9"})
    assert raw.error("join", {"room": "plaza/many0"})["code"] == "full"


def test_watched_users_of_a_connection_are_limited(member: Callable[..., Raw]) -> None:
    raw = member()
    raw.ok("watch", {"users": [f"w{n}" for n in range(WATCHES - 1)]})
    error = raw.error("watch", {"users": ["x1", "x2"]})
    assert (error["code"], error["limit"]) == ("full", WATCHES)
    raw.ok("watch", {"users": ["x1", "w0"]})
    raw.ok("watch", {"users": ["w0"], "off": True})
    raw.ok("watch", {"users": ["x2"]})


def test_devices_of_a_user_are_limited_and_the_one_longest_away_is_forgotten(
    cluster: Cluster, member: Callable[..., Raw]
) -> None:
    devices = [member(device=f"d{n}", gateway=n % 2) for n in range(DEVICES)]
    uid = devices[0].seen[0][2]["uid"]
    with Raw(cluster.tcp(0)) as late:
        error = late.error("hello", {"v": 1, "token": cluster.token(uid), "device": "late"})
        assert (error["code"], error["limit"]) == ("full", DEVICES)
        late.wait_end(2)
    devices[2].send("bye", {})
    devices[2].wait_end(2)
    member(device="late")
    row = devices[0].ok("presence", {"users": [uid]})["users"][0]
    names = {device["device"] for device in row["devices"]}
    assert names == {"late", *(f"d{n}" for n in range(DEVICES))} - {"d2"}


def test_members_of_a_room_are_limited_over_all_gateways(member: Callable[..., Raw]) -> None:
    room = "plaza/two.only"
    first, second, third = (member(uid, gateway) for uid, gateway in (("a", 0), ("b", 1), ("c", 0)))
    assert [raw.ok("join", {"room": room})["count"] for raw in (first, second)] == [1, 2]
    error = third.error("join", {"room": room})
    assert (error["code"], error["limit"]) == ("full", 2)
    assert first.ok("join", {"room": room})["count"] == 2, "who is in may join again"
    second.ok("leave", {"room": room})
    deadline = time.monotonic() + 5
    while third.request("join", {"room": room})[0] == "error":
        assert time.monotonic() < deadline, "the place is free"
        time.sleep(0.05)


# the door


@contextmanager
def half_open(cluster: Cluster, addresses: list[str], each: int) -> Iterator[list[Raw]]:
    """Hold half-open logins, those of one address after each other."""
    with ExitStack() as stack:
        yield [stack.enter_context(Raw(cluster.tcp(0), source=a)) for a in addresses for _ in range(each)]


def test_half_open_logins_of_an_address_are_limited_and_its_oldest_must_go(cluster: Cluster) -> None:
    with (
        half_open(cluster, ["127.0.0.5"], HALF_OPEN_PER_ADDRESS) as held,
        Raw(cluster.tcp(0), source="127.0.0.6") as elsewhere,
        Raw(cluster.tcp(0), source="127.0.0.5") as newest,
    ):
        kick = held[0].wait_op("kick")
        assert (kick["code"], kick["reconnect"]) == ("idle", True)
        for number, raw in enumerate((newest, *held[1:], elsewhere)):
            raw.hello(cluster.token(f"patient{number}"))


def test_half_open_logins_are_limited_in_all_and_the_next_one_waits(cluster: Cluster) -> None:
    addresses = [f"127.0.1.{n + 1}" for n in range(HALF_OPEN // HALF_OPEN_PER_ADDRESS)]
    with half_open(cluster, addresses, HALF_OPEN_PER_ADDRESS) as held, Raw(cluster.tcp(0)) as waiting:
        waiting.send("hello", {"v": 1, "token": cluster.token("waiting"), "device": "raw"})
        waiting.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.read()
        held[7].hello(cluster.token("first"))
        assert waiting.wait_op("ok", 3)["uid"] == "waiting"


def test_the_accept_rate_is_limited_and_all_come_in_in_the_end(cluster: Cluster) -> None:
    began = time.monotonic()
    count = ACCEPTS + 50
    for number in range(count):
        with Raw(cluster.tcp(0)) as raw:
            raw.hello(cluster.token(f"guest{number}"))
            raw.send("bye", {})
            raw.wait_end(2)
    assert time.monotonic() - began >= 0.8 * (count - ACCEPTS) / ACCEPTS


def test_a_full_gateway_stops_listening_and_listens_again_when_there_is_space(cluster: Cluster) -> None:
    with ExitStack() as stack:
        clients = []
        for number in range(CONNECTIONS):
            raw = stack.enter_context(Raw(cluster.tcp(0)))
            raw.hello(cluster.token(f"crowd{number}"))
            clients.append(raw)
        wait_until(lambda: not listens(cluster.tcp(0)), "gateway-0 still listens")
        for number in range(10):
            with Raw(cluster.tcp()) as other:
                assert other.hello(cluster.token(f"next{number}"))["gateway"] == "gateway-1"
        assert clients[0].request("ping", {})[0] == "pong"
        for raw in clients[:3]:
            raw.close()
        wait_until(lambda: listens(cluster.tcp(0)), "gateway-0 does not listen again")
        with Raw(cluster.tcp(0)) as raw:
            assert raw.hello(cluster.token("late"))["gateway"] == "gateway-0"


def listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def wait_until(holds: Callable[[], bool], otherwise: str, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


# how long


def test_who_is_silent_for_two_and_a_half_pings_is_idle_and_any_packet_counts(
    member: Callable[..., Raw],
) -> None:
    silent, talker = member("a"), member("b")
    assert silent.seen[0][2]["ping"] == PING
    began = time.monotonic()
    silent.socket.settimeout(0.05)
    kicked = None
    while kicked is None:
        assert time.monotonic() - began < 2.5 * PING + 2
        assert talker.error("strange", {})["code"] == "unknown_op"
        try:
            kicked = silent.read()
        except TimeoutError:
            continue
    assert (kicked[0], kicked[2]["code"], kicked[2]["reconnect"]) == ("kick", "idle", True)
    assert time.monotonic() - began >= 2.5 * PING - 0.3
    silent.wait_end(2)
    assert talker.request("ping", {})[0] == "pong"


def test_a_connection_ends_with_its_token_unless_a_newer_one_came(cluster: Cluster) -> None:
    with Raw(cluster.tcp(0)) as ends, Raw(cluster.tcp(0)) as goes_on, Raw(cluster.tcp(0)) as shortened:
        ends_at = ends.hello(cluster.token("mortal", ttl=2))["exp"] / 1000
        goes_on.hello(cluster.token("refreshed", ttl=2))
        shortened.hello(cluster.token("shortened"))
        newer = goes_on.ok("refresh", {"token": cluster.token("refreshed", ttl=600)})
        assert newer["exp"] > (time.time() + 500) * 1000
        assert isinstance(newer["resume"], str)
        sooner = shortened.ok("refresh", {"token": cluster.token("shortened", ttl=3)})
        kick = ends.wait_op("kick")
        assert (kick["code"], kick["reconnect"]) == ("expired", False)
        assert -0.2 < time.time() - ends_at < 1.5
        assert shortened.wait_op("kick")["code"] == "expired"
        assert -0.2 < time.time() - sooner["exp"] / 1000 < 1.5
        assert goes_on.request("ping", {})[0] == "pong"


def test_a_ping_is_answered_while_the_connection_is_parked(
    cluster: Cluster, member: Callable[..., Raw]
) -> None:
    raw = member()
    before = parked_pings(cluster)
    deadline = time.monotonic() + 10
    while parked_pings(cluster) == before:
        assert time.monotonic() < deadline, "never parked"
        until = time.monotonic() + 2 * PARK_AFTER
        while time.monotonic() < until:
            time.sleep(0.05)
        assert raw.request("ping", {})[0] == "pong"


@pytest.mark.parametrize("stopped", ["world-0", "session-0"])
def test_a_request_without_an_answer_gets_timeout(
    cluster: Cluster, member: Callable[..., Raw], stopped: str
) -> None:
    room = "plaza/late"
    raw = member(room=room)
    cluster.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        if stopped == "world-0":
            error = raw.error("publish", {"room": room, "data": 1})
        else:
            with Raw(cluster.tcp(0)) as late:
                error = late.error("hello", {"v": 1, "token": cluster.token("late"), "device": "raw"})
                late.wait_end(2)
        assert (error["code"], error["retry"]) == ("timeout", True)
        assert REQUEST_TIMEOUT <= time.monotonic() - began + 0.2 < REQUEST_TIMEOUT + 1.0
        assert raw.request("ping", {})[0] == "pong"
    finally:
        cluster.kill(stopped, signal.SIGCONT)
    raw.ok("publish", {"room": room, "data": 2})
    with Raw(cluster.tcp(0)) as again:
        again.hello(cluster.token("late"))


# what rooms keep


@pytest.mark.parametrize("room", ["plaza/items.1", "plaza/keep5.1"])
def test_a_room_keeps_so_many_messages(member: Callable[..., Raw], room: str) -> None:
    raw = member(room=room)
    epoch = 0
    for number in range(1, 9):
        reply = raw.ok("publish", {"room": room, "data": number})
        epoch = reply["epoch"]
        assert reply["offset"] == number
    newest = raw.ok("history", {"room": room})
    assert [message["data"] for message in newest["messages"]] == [4, 5, 6, 7, 8]
    assert (newest["epoch"], newest["offset"], newest["first"]) == (epoch, 8, 4)
    for since, recovered, messages in (
        (3, True, [4, 5, 6, 7, 8]),
        (2, False, [4, 5, 6, 7, 8]),
        (8, True, []),
    ):
        reply = raw.ok("join", {"room": room, "since": {"epoch": epoch, "offset": since}})
        assert (reply["recovered"], reply["more"]) == (recovered, False)
        assert [message["offset"] for message in reply["messages"]] == messages


def test_a_room_keeps_so_many_bytes(member: Callable[..., Raw]) -> None:
    room = "plaza/bytes.1"
    raw = member(room=room)
    for number in range(10):
        raw.ok("publish", {"room": room, "data": bytes(400) if number else bytes(1_500)})
    reply = raw.ok("history", {"room": room})
    assert 1 <= len(reply["messages"]) <= 2_000 // 400
    assert reply["messages"][-1]["offset"] == reply["offset"] == 10


def test_a_room_keeps_messages_for_so_long(member: Callable[..., Raw]) -> None:
    room = "plaza/brief.1"
    raw = member(room=room)
    first = raw.ok("publish", {"room": room, "data": 1})
    since = {"epoch": first["epoch"], "offset": 0}
    assert raw.ok("history", {"room": room, "since": since})["recovered"]
    began = time.monotonic()
    while raw.ok("history", {"room": room})["messages"]:
        assert time.monotonic() - began < 3
        time.sleep(0.05)
    assert time.monotonic() - began > 0.8
    reply = raw.ok("history", {"room": room, "since": since})
    assert (reply["recovered"], reply["messages"], reply["offset"]) == (False, [], 1)
    assert raw.ok("publish", {"room": room, "data": 2})["offset"] == 2


def test_an_empty_room_ends_after_its_idle_time_and_a_full_one_does_not(member: Callable[..., Raw]) -> None:
    room, kept = "plaza/fleeting.1", "plaza/fleeting.2"
    raw, stays = member("a"), member("b", room=kept)
    epoch = raw.ok("join", {"room": room})["epoch"]
    stays_epoch = stays.ok("publish", {"room": kept, "data": 1})["epoch"]
    raw.ok("publish", {"room": room, "data": 1})
    raw.ok("leave", {"room": room})
    deadline = time.monotonic() + 6
    while True:
        time.sleep(0.05)
        reply = raw.ok("history", {"room": room, "since": {"epoch": epoch, "offset": 1}})
        if reply["epoch"] != epoch:
            break
        assert time.monotonic() < deadline, "the room lives on"
        assert reply["recovered"]
    assert (reply["recovered"], reply["offset"]) == (False, 0)
    assert reply["epoch"] > epoch
    assert stays.ok("publish", {"room": kept, "data": 2}) == {"epoch": stays_epoch, "offset": 2}


@pytest.mark.parametrize("room", ["plaza/once", "plaza/keep.once"])
def test_a_publish_repeated_with_its_key_is_the_same_message(member: Callable[..., Raw], room: str) -> None:
    first, other = member("a", room=room), member("b", 1, room=room)
    again = member("a", 1, device="second", room=room)
    said = first.ok("publish", {"room": room, "data": "one", "key": "k1"})
    assert first.ok("publish", {"room": room, "data": "ignored", "key": "k1"}) == said
    assert again.ok("publish", {"room": room, "data": "one", "key": "k1"}) == said
    assert other.ok("publish", {"room": room, "data": "two", "key": "k1"})["offset"] == said["offset"] + 1
    assert first.ok("publish", {"room": room, "data": "three", "key": "k2"})["offset"] == said["offset"] + 2
    heard = [other.wait_op("message")["data"]]
    while heard[-1] != "three":
        heard.append(other.wait_op("message")["data"])
    seen = [packet[2]["data"] for packet in other.seen if packet[0] == "message"]
    assert seen == ["one", "two", "three"]
