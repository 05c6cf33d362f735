from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from tests.common.net.front.scene import Client, Site, settle, until

ROOM = "plaza/lobby"
KEY = "demo/plaza/lobby"
MakeSite = Callable[..., Site]


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def joined(epoch: int = 9, offset: int = 0, count: int = 1) -> list[Any]:
    """Give a world's answer to a join."""
    return [epoch, offset, False, [], False, count]


def enter(site: Site, client: Client, **fields: Any) -> None:
    """Have a client join ROOM."""
    client.send("join", {"room": ROOM, **fields}, 50)
    site.answer("join", joined())
    assert read(client)[:2] == ("ok", 50)


def asked_kinds(site: Site) -> list[str]:
    """Give the kinds of items sent so far."""
    settle()
    return [item[0] for _, item in site.links.sent]


@pytest.fixture
def client(site: Site) -> Client:
    return site.log_in()


def test_a_join_is_asked_of_the_rooms_world_with_absolute_counts(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM, "since": {"epoch": 9, "offset": 3}, "presence": True}, 2)
    peer, item = site.asked("join")
    assert peer == site.process.places.world_of(KEY)
    assert item[2:] == [KEY, [1, 1], [9, 3], True]
    message = [4, "bob", b"\xa2hi", 1_000]
    site.give(peer, "ok", item[1], [9, 4, True, [message], False, 7])
    op, number, body = read(client)
    assert (op, number) == ("ok", 2)
    assert body == {
        "room": ROOM,
        "epoch": 9,
        "offset": 4,
        "recovered": True,
        "more": False,
        "count": 7,
        "messages": [{"room": ROOM, "offset": 4, "uid": "bob", "time": 1_000, "data": "hi"}],
    }


def test_a_member_is_in_exactly_from_its_answer_on(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    peer, item = site.asked("join")
    site.give(peer, "m", KEY, 5, "bob", b"\x05", 1)
    site.give(peer, "ok", item[1], joined(offset=5))
    site.give(peer, "m", KEY, 6, "bob", b"\x06", 1)
    assert read(client)[0] == "ok"
    op, _, body = read(client)
    assert (op, body["offset"], body["data"]) == ("message", 6, 6)


def test_what_is_sent_behind_a_join_is_carried_out_after_it_in_order(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("publish", {"room": ROOM, "data": "a"}, 3)
    client.send("publish", {"room": ROOM, "data": "b"}, 4)
    assert asked_kinds(site) == ["join"]
    site.answer("join", joined())
    assert [site.answer("publish", [9, n])[5] for n in (1, 2)] == [b"\xa1a", b"\xa1b"]
    assert [read(client)[:2] for _ in range(3)] == [("ok", 2), ("ok", 3), ("ok", 4)]


def test_other_rooms_do_not_wait_for_a_join(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("join", {"room": "plaza/other"}, 3)
    client.send("history", {"room": "plaza/third"}, 4)
    assert asked_kinds(site) == ["join", "join", "history"]


def test_what_is_behind_a_refused_join_is_answered_not_joined(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("publish", {"room": ROOM, "data": "a"}, 3)
    client.send("leave", {"room": ROOM}, 4)
    client.send("history", {"room": ROOM}, 5)
    site.refuse("join", "full", limit=3)
    replies = {number: (op, body.get("code")) for op, number, body in (read(client) for _ in range(3))}
    assert replies == {2: ("error", "full"), 3: ("error", "not_joined"), 4: ("error", "not_joined")}
    assert asked_kinds(site) == ["history"]


def test_what_is_behind_a_join_its_world_never_answers_ends_with_it(make_site: MakeSite) -> None:
    site = make_site(request_timeout=0.2)
    client = site.log_in()
    for number, op in enumerate(("join", "history", "join", "publish"), 1):
        client.send(op, {"room": ROOM, "data": 1}, number)
    site.asked("join")
    answers = [read(client) for _ in range(4)]
    assert [(number, body["code"]) for _, number, body in answers] == [(n, "timeout") for n in (1, 2, 3, 4)]
    assert not {"join", "history", "publish"} & set(asked_kinds(site))
    enter(site, client)


def test_a_join_behind_a_join_takes_the_rest_along(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("publish", {"room": ROOM, "data": "a"}, 3)
    client.send("join", {"room": ROOM, "presence": True}, 4)
    client.send("publish", {"room": ROOM, "data": "b"}, 5)
    client.send("leave", {"room": ROOM}, 6)
    site.answer("join", joined())
    assert asked_kinds(site) == ["publish", "join"]
    site.answer("publish", [9, 1])
    assert site.answer("join", joined())[3] == [1, 1]
    site.answer("publish", [9, 2])
    replies = [read(client)[:2] for _ in range(5)]
    assert sorted(replies) == [("ok", n) for n in (2, 3, 4, 5, 6)]
    assert not site.connection().rooms


def test_a_join_behind_a_refused_join_has_its_own_answer(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("join", {"room": ROOM}, 3)
    client.send("publish", {"room": ROOM, "data": "a"}, 4)
    site.refuse("join", "unavailable")
    site.answer("join", joined())
    site.answer("publish", [9, 1])
    assert [read(client)[:2] for _ in range(3)] == [("error", 2), ("ok", 3), ("ok", 4)]


def test_a_failed_join_counts_nobody(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    site.refuse("join", "unavailable")
    read(client)
    site.gateway.mirror.tell(site.process.places.world_of(KEY))
    assert site.asked("count")[1] == ["count", KEY, 0, 0, None]
    assert KEY not in site.gateway.mirror.rooms


def test_a_join_that_cannot_be_sent_counts_nobody(site: Site, client: Client) -> None:
    world = site.process.places.world_of(KEY)
    site.links.down = {world}
    client.send("join", {"room": ROOM}, 2)
    assert read(client)[2]["code"] == "unavailable"
    site.links.down, site.links.full = set(), {world}
    client.send("join", {"room": ROOM}, 3)
    assert read(client)[2]["code"] == "busy"
    site.links.full = set()
    site.gateway.mirror.tell(world)
    assert KEY not in site.gateway.mirror.rooms
    enter(site, client)
    assert site.gateway.mirror.rooms[KEY].count == 1


def test_a_client_that_is_gone_when_its_join_is_answered_is_no_member(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("publish", {"room": ROOM, "data": "a"}, 3)
    peer, item = site.asked("join")
    settle()
    client.socket.close()
    until(lambda: not site.front.connections)
    site.give(peer, "ok", item[1], joined())
    assert asked_kinds(site) == ["close"]
    site.gateway.mirror.tell(peer)
    assert site.asked("count")[1] == ["count", KEY, 0, 0, None]


def test_what_is_behind_the_join_of_a_client_that_is_gone_is_asked_of_nobody(
    site: Site, client: Client
) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("history", {"room": ROOM}, 3)
    client.send("presence", {"users": ["bob"]}, 4)
    site.asked("where")
    peer, item = site.asked("join")
    site.connection().kick("banned", "test")
    site.give(peer, "err", item[1], "unavailable", "", {})
    assert asked_kinds(site) == ["close"]


def test_a_member_that_joins_again_is_counted_once(site: Site, client: Client) -> None:
    enter(site, client)
    client.send("join", {"room": ROOM}, 3)
    assert site.answer("join", joined())[3] == [1, 0]
    read(client)
    assert (site.gateway.mirror.rooms[KEY].count, len(site.connection().rooms)) == (1, 1)


def test_only_so_many_rooms(make_site: MakeSite) -> None:
    site = make_site(rooms_per_connection=2)
    client = site.log_in()
    enter(site, client)
    client.send("join", {"room": "plaza/b"}, 3)
    client.send("join", {"room": "plaza/c"}, 4)
    assert (read(client)[2]["code"]) == "full"
    site.answer("join", joined())
    read(client)
    client.send("join", {"room": ROOM}, 5)
    site.answer("join", joined())
    assert read(client)[:2] == ("ok", 5)
    client.send("leave", {"room": ROOM}, 6)
    client.send("join", {"room": "plaza/c"}, 7)
    site.answer("join", joined())
    assert [read(client)[:2] for _ in range(2)] == [("ok", 6), ("ok", 7)]


def test_leave_ends_membership_at_once(site: Site, client: Client) -> None:
    enter(site, client)
    client.send("leave", {"room": ROOM}, 3)
    client.send("publish", {"room": ROOM, "data": 1}, 4)
    assert read(client)[:2] == ("ok", 3)
    assert read(client)[2]["code"] == "not_joined"


def test_publish_carries_data_unopened_key_and_sender(site: Site, client: Client) -> None:
    enter(site, client)
    client.send("publish", {"room": ROOM, "data": [1, "x"], "key": "k"}, 3)
    assert site.answer("publish", [9, 4])[2:] == [KEY, "ann", "k", b"\x92\x01\xa1x"]
    assert read(client) == ("ok", 3, {"epoch": 9, "offset": 4})


def test_history_needs_no_membership(site: Site, client: Client) -> None:
    client.send("history", {"room": ROOM, "limit": 5}, 3)
    assert site.answer("history", [9, 7, 3, False, [[7, "bob", b"\x01", 5]], False])[2:] == [KEY, None, 5]
    op, _, body = read(client)
    assert (op, body["epoch"], body["offset"], body["first"], body["more"]) == ("ok", 9, 7, 3, False)
    assert body["messages"] == [{"room": ROOM, "offset": 7, "uid": "bob", "time": 5, "data": 1}]


def test_a_room_of_a_map_that_is_not_there_is_not_found(site: Site, client: Client) -> None:
    client.send("join", {"room": "nowhere/x"}, 3)
    assert read(client)[2]["code"] == "not_found"


def test_a_lost_world_fails_the_join_and_what_is_behind_it(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 2)
    client.send("publish", {"room": ROOM, "data": 1}, 3)
    peer, _ = site.asked("join")
    settle()
    site.links.down = {peer}
    site.gateway.link_down(peer)
    assert [(op, number, body["code"]) for op, number, body in (read(client) for _ in range(2))] == [
        ("error", 2, "unavailable"),
        ("error", 3, "not_joined"),
    ]


def test_requests_that_want_no_answer_get_none(site: Site, client: Client) -> None:
    client.send("join", {"room": ROOM}, 0)
    site.answer("join", joined())
    client.send("publish", {"room": ROOM, "data": 1}, 0)
    site.answer("publish", [9, 1])
    client.send("leave", {"room": "plaza/other"}, 0)
    client.send("ping", {}, 9)
    with gevent.Timeout(2):
        assert read(client)[:2] == ("pong", 9)
