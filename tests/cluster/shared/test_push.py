"""What an application server does to connections of a real cluster, by the calls that center makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gevent import sleep

from common.errors import BadField, NotFound, RequestError
from common.net.front.box import Letter, pack_letter
from common.net.rpc import Callers, Context
from common.wire.codec import pack
from tests.cluster.cluster import Cluster
from tests.cluster.raw import Raw

Enter = Callable[..., Raw]
SECONDS = 15.0


class Door:
    """Calls processes as center does."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._context = Context()
        self._callers = Callers(self._context, cluster.places, "test", cluster.settings.rpc)

    def call(self, peer: str, method: str, *args: Any) -> Any:
        return self._callers.call(peer, method, *args, timeout=5.0)

    def of(self, uid: str, method: str, *args: Any) -> Any:
        """Call the session process of a user with the user first."""
        user = f"demo/{uid}"
        return self.call(self.cluster.places.session_of(user), method, user, *args)

    def world(self, room: str, method: str, *args: Any) -> Any:
        """Call the world of a room ("map/name") with the room first."""
        key = f"demo/{room}"
        return self.call(self.cluster.places.world_of(key), method, key, *args)

    def broadcast(self, mid: int, data: str, tags: list[str] | None = None, rate: int = 0) -> int:
        """Broadcast without keep, gateway by gateway; give connections written."""
        body = pack_letter(Letter("", pack(data), int(time.time() * 1000), False))
        args = ("demo", mid, body, 0, 0, tags or [], rate)
        return sum(self.call(name, "broadcast", *args) for name in self.cluster.places.gateways)

    def close(self) -> None:
        self._callers.close()
        self._context.destroy(linger=0)


@pytest.fixture
def door(cluster: Cluster) -> Iterator[Door]:
    made = Door(cluster)
    yield made
    made.close()


@pytest.fixture
def enter(cluster: Cluster) -> Iterator[Enter]:
    """Log users in; all connections are closed afterwards."""
    raws: list[Raw] = []

    def log_in(uid: str, device: str = "raw", gateway: int = 0, **claims: Any) -> Raw:
        raws.append(Raw(cluster.tcp(gateway)))
        raws[-1].hello(cluster.token(uid, **claims), device=device)
        return raws[-1]

    yield log_in
    for raw in raws:
        raw.close()


def quiet(raw: Raw, *ops: str) -> bool:
    """Tell whether a connection lives and has heard none of these so far."""
    assert raw.request("ping", {})[0] == "pong"
    return not [op for op, *_ in raw.seen if op in ops]


def connected(door: Door, uid: str) -> list[str]:
    """Name the devices of a user that are connected, as its session process knows."""
    return [row["device"] for row in door.of(uid, "user")["devices"] if row["gateway"] is not None]


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        sleep(0.05)


def test_a_message_is_delivered_to_all_devices_of_a_user(door: Door, enter: Enter) -> None:
    phone, tablet = enter("del1", "phone", 0), enter("del1", "tablet", 1)
    assert (
        door.call(door.cluster.places.session_of("demo/del1"), "deliver", ["demo/del1"], 7, "", b"\x01", 5)
        == 1
    )
    for raw in (phone, tablet):
        assert raw.wait_op("inbox") == {"mid": 7, "uid": "", "time": 5, "data": 1}


def test_one_device_is_kicked_or_all_are(door: Door, enter: Enter) -> None:
    phone, tablet, other = enter("kick1", "phone", 0), enter("kick1", "tablet", 1), enter("kick2")
    assert door.of("kick1", "kick", "phone", "policy", "because") == 1
    assert phone.wait_op("kick") == {"code": "policy", "reason": "because", "reconnect": False}
    phone.wait_end()
    assert quiet(tablet, "kick")
    until(lambda: connected(door, "kick1") == ["tablet"])
    assert door.of("kick1", "kick", None, "drain", "") == 1
    assert tablet.wait_op("kick")["code"] == "drain"
    assert quiet(other, "kick")


def test_a_banned_user_is_out_until_the_ban_ends(door: Door, enter: Enter) -> None:
    cluster = door.cluster
    ann = enter("ban1")
    resume = ann.seen[0][2]["resume"]
    until_ms = int(time.time() * 1000) + 3_600_000
    door.call("dbserver-0", "ban", "demo/ban1", until_ms)
    assert door.of("ban1", "ban", until_ms) == 1
    assert ann.wait_op("kick")["code"] == "banned"
    for fields in ({"token": cluster.token("ban1")}, {"resume": resume}):
        with Raw(cluster.tcp(1)) as again:
            error = again.error("hello", {"v": 1, "device": "raw", **fields})
            assert (error["code"], error["until"]) == ("unauthorized", until_ms)
            assert "banned until" in error["message"]
    door.call("dbserver-0", "unban", "demo/ban1")
    door.of("ban1", "unban")
    with Raw(cluster.tcp(1)) as again:
        assert again.error("hello", {"v": 1, "device": "raw", "resume": resume})["code"] == "unauthorized"
    assert quiet(enter("ban1"), "kick")


def test_a_ban_outlives_the_session_process(door: Door, enter: Enter) -> None:
    cluster, session = door.cluster, door.cluster.places.session_of("demo/ban2")
    enter("ban2other")
    door.call("dbserver-0", "ban", "demo/ban2", 0)
    pid = cluster.kill(session)
    cluster.wait_healed({session: pid})
    with Raw(cluster.tcp(0)) as raw:
        error = raw.error("hello", {"v": 1, "device": "raw", "token": cluster.token("ban2")})
        assert (error["code"], error["until"]) == ("unauthorized", 0)


def test_a_resume_token_that_bye_or_a_ban_ended_is_dead_after_a_restart_of_session_too(
    door: Door, enter: Enter
) -> None:
    cluster = door.cluster
    raws = {uid: enter(uid) for uid in ("end.bye", "end.ban", "end.not")}
    tokens = {uid: raw.seen[0][2]["resume"] for uid, raw in raws.items()}
    raws["end.bye"].send("bye", {}, 0)
    raws["end.bye"].wait_end()
    door.call("dbserver-0", "ban", "demo/end.ban", 0)
    door.of("end.ban", "ban", 0)
    door.call("dbserver-0", "unban", "demo/end.ban")
    until(lambda: door.call("dbserver-0", "logins_ended", [["demo/end.bye", "raw"]]) != [0])
    cluster.wait_healed({name: cluster.kill(name) for name in cluster.places.sessions})
    again = enter("end.bye")
    for uid in ("end.bye", "end.ban"):
        with Raw(cluster.tcp(1)) as raw:
            error = raw.error("hello", {"v": 1, "device": "raw", "resume": tokens[uid]})
            assert (error["code"], error["message"]) == ("unauthorized", "this login has ended")
    assert quiet(again, "kick"), "the rightful connection is undisturbed"
    with Raw(cluster.tcp(1)) as raw:
        assert raw.ok("hello", {"v": 1, "device": "raw", "resume": tokens["end.not"]})["uid"] == "end.not"


def test_a_user_is_put_into_a_room_and_taken_out(door: Door, enter: Enter) -> None:
    room, key = "plaza/assign.1", "demo/plaza/assign.1"
    rights = {"rooms": {"plaza/other": ["join"]}}
    phone, tablet = enter("as1", "phone", 0, **rights), enter("as1", "tablet", 1, **rights)
    assert phone.error("join", {"room": room})["code"] == "forbidden"
    assert door.of("as1", "assign", key, True) == 2
    heard = [raw.wait_op("subscribed") for raw in (phone, tablet)]
    assert {body["room"] for body in heard} == {room} and {body["offset"] for body in heard} == {0}
    epoch, offset = door.world(room, "publish", "", "", pack("hi"))
    assert (epoch, offset) == (heard[0]["epoch"], 1)
    for raw in (phone, tablet):
        message = raw.wait_op("message")
        assert (message["offset"], message["uid"], message["data"]) == (1, "", "hi")
    about = door.world(room, "room")
    assert (about["count"], about["offset"], about["messages"][0][2]) == (2, 1, pack("hi"))
    assert [user[0] for user in about["users"]] == ["as1"]
    assert [key, 2, 1] in door.call(door.cluster.places.world_of(key), "rooms", "demo")
    assert door.of("as1", "assign", key, False) == 2
    for raw in (phone, tablet):
        assert raw.wait_op("unsubscribed") == {"room": room, "reason": "server"}
    door.world(room, "publish", "", "", pack("nobody hears it"))
    until(lambda: door.world(room, "room")["count"] == 0)
    assert [body["data"] for op, _, body in phone.seen if op == "message"] == ["hi"]


def test_an_assignment_waits_for_a_world_that_is_away(door: Door, enter: Enter) -> None:
    room, key = "plaza/assign.2", "demo/plaza/assign.2"
    world = door.cluster.places.world_of(key)
    raw = enter("as2")
    pid = door.cluster.kill(world)
    assert door.of("as2", "assign", key, True) == 1
    assert raw.wait_op("subscribed", SECONDS)["room"] == room
    door.cluster.wait_healed({world: pid})
    assert door.world(room, "publish", "", "", pack(1))[1] == 1
    assert raw.wait_op("message")["offset"] == 1


def test_a_room_of_no_map_or_of_another_product_is_refused(door: Door, enter: Enter) -> None:
    enter("as3")
    for room, error in (("demo/nowhere/x", NotFound), ("other/plaza/x", BadField), ("demo/plaza", BadField)):
        with pytest.raises(RequestError) as caught:
            door.of("as3", "assign", room, True)
        assert type(caught.value) is error


def test_a_live_broadcast_reaches_every_connection_of_its_product(door: Door, enter: Enter) -> None:
    raws = [enter(f"bc{number}", gateway=number % 2) for number in range(4)]
    other = enter("bc0", product="other")
    assert door.broadcast(101, "all") == 4
    for raw in raws:
        assert (raw.wait_op("inbox")["mid"], raw.seen[-1][2]["data"]) == (101, "all")
    assert door.broadcast(101, "all") == 4, "repeated under its id it is not written again"
    assert all(quiet(raw) for raw in raws)
    assert all(len([op for op, *_ in raw.seen if op == "inbox"]) == 1 for raw in raws)
    assert quiet(other, "inbox")


def test_tags_choose_who_hears_a_broadcast_and_whom_a_push_finds(door: Door, enter: Enter) -> None:
    sessions = door.cluster.places.sessions

    def tagged(*tags: str) -> list[str]:
        return sorted(user for name in sessions for user in door.call(name, "tagged", "demo", list(tags)))

    ios = enter("tag1", gateway=0, tags=["ios", "v2"])
    android = enter("tag2", gateway=1, tags=["android", "v2"])
    assert (tagged("v2"), tagged("v2", "ios")) == (["demo/tag1", "demo/tag2"], ["demo/tag1"])
    assert door.broadcast(201, "for ios", ["ios"]) == 1
    assert ios.wait_op("inbox")["data"] == "for ios"
    door.call("dbserver-0", "device_mark", [["demo/tag2", "raw", ["vip"], None]])
    assert door.of("tag2", "tags", "raw", ["vip"]) is True
    assert (tagged("v2"), tagged("vip")) == (["demo/tag1"], ["demo/tag2"])
    until(lambda: door.broadcast(time.time_ns() >> 10, "for vips", ["vip"]) == 1)
    assert android.wait_op("inbox")["data"] == "for vips"
    assert quiet(ios) and [body["data"] for op, _, body in ios.seen if op == "inbox"] == ["for ios"]
    android.close()
    enter("tag2", gateway=0, tags=["android", "v2"])
    until(lambda: tagged("vip") == ["demo/tag2"] and tagged("android") == [])


def test_users_and_gateways_are_counted(door: Door, enter: Enter) -> None:
    enter("count1", product="counted")
    enter("count1", "other", product="counted")
    totals = [door.call(name, "stats", "counted") for name in door.cluster.places.sessions]
    assert sum(each["users"] for each in totals) == 1
    assert sum(each["devices"] for each in totals) == 2
    loads = [door.call(name, "load") for name in door.cluster.places.gateways]
    assert sum(each["connections"] for each in loads) >= 2
    assert {each["state"] for each in loads} == {"ready"}
    host, port = door.cluster.tcp(0)
    assert loads[0]["address"] == f"{host}:{port}"
