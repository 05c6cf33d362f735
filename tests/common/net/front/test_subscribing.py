from __future__ import annotations

from typing import Any

import pytest

from common.net.front.subscribing import TRIES
from tests.common.net.front.scene import Client, Site, settle

ROOM = "plaza/lobby"
KEY = "demo/plaza/lobby"


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def assign(site: Site, join: bool = True, key: str = KEY) -> None:
    """Let session have all connections here come in or go."""
    site.give("session-0", "assign", sorted(site.front.connections), key, join)


def let_in(site: Site, offset: int = 4, count: int = 7) -> list[Any]:
    """Let the world answer the join under way."""
    return site.answer("join", [9, offset, False, [], False, count])


def pings(client: Client) -> bool:
    """Tell whether the next thing a client hears is the answer to its ping."""
    client.send("ping", {}, 99)
    return read(client)[:2] == ("pong", 99)


@pytest.fixture
def client(site: Site) -> Client:
    return site.log_in()


def test_a_client_is_put_into_a_room_and_hears_what_follows(site: Site, client: Client) -> None:
    assign(site)
    peer, item = site.asked("join")
    assert (peer, item[2:]) == (site.process.places.world_of(KEY), [KEY, [1, 0], None, False])
    site.give(peer, "m", KEY, 4, "bob", b"\x04", 1)
    site.give(peer, "ok", item[1], [9, 4, False, [], False, 7])
    site.give(peer, "m", KEY, 5, "bob", b"\x05", 1)
    assert read(client) == ("subscribed", 0, {"room": ROOM, "epoch": 9, "offset": 4, "count": 7})
    op, _, body = read(client)
    assert (op, body["offset"]) == ("message", 5)
    assert [room.key for room in site.connection().rooms] == [KEY]
    assert site.front.counters.assigned == 1


def test_who_is_just_coming_in_is_put_into_a_room_after_its_welcome(site: Site) -> None:
    client, go_on = site.open_unwelcomed()
    assign(site)
    site.gateway.subscribing.step()
    go_on.set()
    assert read(client)[0] == "ok"
    assert not site.links.take("join")
    site.gateway.subscribing.step()
    let_in(site)
    assert read(client)[0] == "subscribed"


def test_a_client_is_taken_out_and_hears_why(site: Site, client: Client) -> None:
    assign(site)
    let_in(site)
    assert read(client)[0] == "subscribed"
    assign(site, join=False)
    assert read(client) == ("unsubscribed", 0, {"room": ROOM, "reason": "server"})
    assert not site.connection().rooms
    site.give(site.process.places.world_of(KEY), "m", KEY, 5, "bob", b"\x05", 1)
    assert pings(client)


def test_rights_of_the_token_are_not_asked_but_publishing_needs_membership(
    site: Site, client: Client
) -> None:
    assign(site)
    let_in(site)
    assert read(client)[0] == "subscribed"
    client.send("publish", {"room": ROOM, "data": 1}, 5)
    site.answer("publish", [9, 5])
    assert read(client)[:2] == ("ok", 5)


def test_a_member_is_not_told_again(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 5)
    let_in(site)
    assert read(client)[:2] == ("ok", 5)
    assign(site)
    settle()
    assert not [item for _, item in site.links.sent if item[0] == "join"]
    assert pings(client)


def test_two_assignments_on_the_way_are_one(site: Site, client: Client) -> None:
    assign(site)
    assign(site)
    let_in(site)
    settle()
    assert not [item for _, item in site.links.sent if item[0] == "join"]
    assert read(client)[0] == "subscribed" and pings(client)


def test_a_leave_while_the_join_is_on_the_way_ends_outside(site: Site, client: Client) -> None:
    assign(site)
    assign(site, join=False)
    let_in(site)
    assert pings(client), "it was told of neither"
    assert not site.connection().rooms
    assign(site)
    let_in(site)
    assert read(client)[0] == "subscribed"


def test_a_world_that_is_away_is_asked_again(site: Site, client: Client) -> None:
    world = site.process.places.world_of(KEY)
    site.links.down.add(world)
    assign(site)
    site.gateway.subscribing.step()
    site.links.down.clear()
    site.gateway.subscribing.step()
    site.refuse("join", "unavailable")
    settle()
    assert not [item for _, item in site.links.sent if item[0] == "join"]
    site.gateway.subscribing.step()
    let_in(site)
    assert read(client)[0] == "subscribed"
    site.gateway.mirror.tell(world)
    counts = [item[2] for _, item in site.links.sent if item[0] == "count"]
    assert counts in ([], [1]), counts


def test_a_world_that_stays_away_is_given_up_on(site: Site, client: Client) -> None:
    site.links.down.add(site.process.places.world_of(KEY))
    assign(site)
    for _ in range(TRIES + 5):
        site.gateway.subscribing.step()
    assert site.front.counters.assign_failed == 1
    site.links.down.clear()
    assign(site)
    let_in(site)
    assert read(client)[0] == "subscribed"


def test_a_full_room_is_not_tried_again(site: Site, client: Client) -> None:
    assign(site)
    site.refuse("join", "full", limit=3)
    settle()
    assert site.front.counters.assign_failed == 1
    site.gateway.subscribing.step()
    assert not [item for _, item in site.links.sent if item[0] == "join"]
    assert pings(client)


def test_a_connection_in_too_many_rooms_is_not_put_into_another(make_site: Any) -> None:
    site = make_site(rooms_per_connection=1)
    client = site.log_in()
    assign(site)
    let_in(site)
    assert read(client)[0] == "subscribed"
    assign(site, key="demo/plaza/other")
    assert site.front.counters.assign_failed == 1
    assert pings(client)


def test_a_room_of_another_product_and_a_connection_that_is_gone_are_passed_over(
    site: Site, client: Client
) -> None:
    assign(site, key="other/plaza/lobby")
    site.give("session-0", "assign", [12_345], KEY, True)
    assert not [item for _, item in site.links.sent if item[0] == "join"]
    assert pings(client)


def test_a_client_that_went_while_it_was_let_in_leaves_nothing_behind(site: Site, client: Client) -> None:
    assign(site)
    connection = site.connection()
    connection.close("lost")
    let_in(site)
    site.gateway.mirror.tell(site.process.places.world_of(KEY))
    assert KEY not in site.gateway.mirror.rooms
    site.links.down.add(site.process.places.world_of(KEY))
    assert site.front.counters.assigned == 0
