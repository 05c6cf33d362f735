"""Two products with the same uids, devices, rooms, keys and names on one cluster never meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Raw

PRODUCTS = ("red", "blue")
SETTINGS = {
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "cluster.maps": {"plaza": 1},
    "session.policies": {"red": "newest"},
    "session.offline_after": 1.0,
    "gateway.publishes_per_second": 30,
    "world.publishes_per_second": 20,
    "world.rooms": [
        {"pattern": "plaza/keep.*", "durable": True},
        {"pattern": "plaza/one.*", "member_limit": 1},
        {"pattern": "*"},
    ],
}
ROOMS = ("plaza/same", "plaza/keep.same")


@dataclass
class Side:
    """What one product has: the same two users as the other, in the same places."""

    product: str
    ada: Raw
    bob: Raw


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(SETTINGS) as started:
        yield started


@pytest.fixture
def sides(cluster: Cluster) -> Iterator[tuple[Side, Side]]:
    """Give both products' users, logged in crosswise over two gateways."""
    with ExitStack() as stack:

        def user(uid: str, product: str, gateway: int) -> Raw:
            raw = stack.enter_context(Raw(cluster.tcp(gateway)))
            assert raw.hello(cluster.token(uid, product), device="phone")["product"] == product
            return raw

        red, blue = (Side(product, user("ada", product, 0), user("bob", product, 1)) for product in PRODUCTS)
        yield red, blue


def heard(raw: Raw, op: str) -> list[dict[str, Any]]:
    return [body for name, number, body in raw.seen if name == op and not number]


def say(raw: Raw, room: str, data: str, **fields: Any) -> dict[str, Any]:
    """Publish, and read on until it is heard; give the reply."""
    number = raw.send("publish", {"room": room, "data": data, **fields})
    missing = {"ok", "message"}
    reply: dict[str, Any] = {}
    while missing:
        op, own, body = raw.wait(lambda p: p[1] == number or (p[0] == "message" and p[2]["data"] == data))
        assert op in missing, body
        missing.discard(op)
        reply = body if own == number else reply
    return reply


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_one_name_are_two_rooms(sides: tuple[Side, Side], room: str) -> None:
    red, blue = sides
    for side in sides:
        assert side.ada.ok("join", {"room": room, "presence": True})["count"] == 1
        assert side.bob.ok("join", {"room": room})["count"] == 2
    assert [say(red.ada, room, f"red {n}")["offset"] for n in range(3)] == [1, 2, 3]
    assert say(blue.ada, room, "blue")["offset"] == 1
    say(red.bob, room, "red end")
    say(blue.bob, room, "blue end")
    for side, count in ((red, 4), (blue, 2)):
        history = side.ada.ok("history", {"room": room})
        assert (history["offset"], len(history["messages"])) == (count, count)
        assert all(message["data"].startswith(side.product) for message in history["messages"])
        for raw in (side.ada, side.bob):
            assert all(message["data"].startswith(side.product) for message in heard(raw, "message"))
        presence = side.ada.ok("presence", {"room": room})
        assert (presence["count"], sorted(user["uid"] for user in presence["users"])) == (2, ["ada", "bob"])
    red.bob.ok("leave", {"room": room})
    assert red.ada.wait_op("left")["count"] == 1
    say(blue.ada, room, "blue still")
    assert not heard(blue.ada, "left")
    assert blue.ada.ok("presence", {"room": room})["count"] == 2


@pytest.mark.parametrize("room", ["plaza/keys", "plaza/keep.keys"])
def test_keys_of_one_name_are_two_keys(sides: tuple[Side, Side], room: str) -> None:
    for side in sides:
        side.ada.ok("join", {"room": room})
        assert say(side.ada, room, side.product, key="k")["offset"] == 1
    for side in sides:
        assert side.ada.ok("publish", {"room": room, "data": "again", "key": "k"})["offset"] == 1
        messages = side.ada.ok("history", {"room": room})["messages"]
        assert [message["data"] for message in messages] == [side.product]


def test_a_place_in_one_products_room_is_none_in_the_others(sides: tuple[Side, Side]) -> None:
    red, blue = sides
    room = "plaza/places"
    for side in sides:
        side.ada.ok("join", {"room": room})
        say(side.ada, room, side.product)
    since = {"epoch": red.ada.ok("history", {"room": room})["epoch"], "offset": 0}
    assert red.ada.ok("history", {"room": room, "since": since})["recovered"]
    other = blue.ada.ok("history", {"room": room, "since": since})
    assert not other["recovered"]
    assert [message["data"] for message in other["messages"]] == ["blue"]


def test_users_of_one_name_are_two_users(cluster: Cluster, sides: tuple[Side, Side]) -> None:
    red, blue = sides
    with Raw(cluster.tcp(1)) as again:
        again.hello(cluster.token("ada", "red"), device="phone")
        assert red.ada.wait_op("kick")["code"] == "replaced"
        assert again.ok("send", {"to": ["ada", "bob"], "data": "red"})["online"] == 2
        assert red.bob.wait_op("inbox")["data"] == "red"
        assert blue.ada.ok("send", {"to": "bob", "data": "blue"})["online"] == 1
        assert [body["data"] for body in (blue.bob.wait_op("inbox"),)] == ["blue"]
        with Raw(cluster.tcp(0)) as tablet:
            tablet.hello(cluster.token("ada", "red"), device="tablet")
            assert again.wait_op("kick")["code"] == "policy", "the policy of red alone"
    assert blue.ada.request("ping", {})[0] == "pong"
    assert not heard(blue.ada, "kick") and not heard(blue.ada, "inbox")


def test_presence_and_watches_see_only_their_own_product(cluster: Cluster, sides: tuple[Side, Side]) -> None:
    red, blue = sides
    for side in sides:
        assert side.ada.ok("watch", {"users": ["carol"]})["users"] == [{"uid": "carol", "online": False}]
    with Raw(cluster.tcp(0)) as carol, Raw(cluster.tcp(0)) as witness:
        carol.hello(cluster.token("carol", "red"))
        assert red.ada.wait_op("presence")["uid"] == "carol"
        assert [user["uid"] for user in red.ada.ok("presence", {"users": ["carol"]})["users"]] == ["carol"]
        assert blue.ada.ok("presence", {"users": ["carol"]})["users"] == []
        blue.ada.ok("watch", {"users": ["dave"]})
        witness.hello(cluster.token("dave", "blue"))
        assert blue.ada.wait_op("presence")["uid"] == "dave"
        assert [body["uid"] for body in heard(blue.ada, "presence")] == ["dave"]


def test_names_and_profiles_of_one_name_are_two(sides: tuple[Side, Side]) -> None:
    for side in sides:
        own = side.ada.ok("profile", {"set": {"name": "The One", "colour": side.product}})["users"][0]
        assert (own["name"], own["profile"]) == ("The One", {"colour": side.product})
        assert side.bob.error("profile", {"set": {"name": "The One"}})["code"] == "conflict"
    for side in sides:
        seen = side.bob.ok("profile", {"users": ["ada"]})["users"]
        assert seen == [{"uid": "ada", "name": "The One", "profile": {"colour": side.product}}]


def test_limits_are_counted_for_each_product_by_itself(sides: tuple[Side, Side]) -> None:
    red, blue = sides
    room = "plaza/limits"
    for side in sides:
        side.ada.ok("join", {"room": room})
        assert side.ada.ok("join", {"room": "plaza/one.seat"})["count"] == 1
        assert side.bob.error("join", {"room": "plaza/one.seat"})["code"] == "full"
    codes = [red.ada.request("publish", {"room": room, "data": 1})[2].get("code", "ok") for _ in range(70)]
    assert "rate_limited" in codes
    replies = [blue.ada.request("publish", {"room": room, "data": 1})[0] for _ in range(30)]
    assert replies == ["ok"] * 30


def test_a_resume_token_and_a_refresh_stay_in_their_product(
    cluster: Cluster, sides: tuple[Side, Side]
) -> None:
    red, blue = sides
    resume = red.ada.seen[0][2]["resume"]
    assert blue.ada.error("refresh", {"token": cluster.token("ada", "red")})["code"] == "bad_field"
    with Raw(cluster.tcp(1)) as again:
        welcome = again.ok("hello", {"v": 1, "resume": resume, "device": "phone"})
        assert (welcome["uid"], welcome["product"]) == ("ada", "red")
        assert red.ada.wait_op("kick")["code"] == "replaced"
    with Raw(cluster.tcp(1)) as forged:
        turned = resume.replace("red/", "blue/")
        error = forged.error("hello", {"v": 1, "resume": turned, "device": "phone"})
        assert error["code"] == "unauthorized"
    assert blue.ada.request("ping", {})[0] == "pong"
