from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.errors import Conflict, Unavailable
from tests.common.net.front.scene import Client, Site, settle

MakeSite = Callable[..., Site]


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def users_of(site: Site) -> dict[str, list[str]]:
    """Give session process -> two uids it owns."""
    owned: dict[str, list[str]] = {"session-0": [], "session-1": []}
    for number in range(100):
        owned[site.process.places.session_of(f"demo/u{number}")].append(f"u{number}")
    return {session: uids[:2] for session, uids in owned.items()}


def by_peer(site: Site, kind: str, number: int) -> dict[str, list[Any]]:
    """Wait for so many items of a kind; give to whom -> item."""
    return dict(site.asked(kind) for _ in range(number))


def online(*uids: str) -> list[list[Any]]:
    """Give a session's rows of users on one phone each."""
    return [[f"demo/{uid}", True, [["d", "phone"]], 5] for uid in uids]


@pytest.fixture
def client(site: Site) -> Client:
    return site.log_in()


def test_presence_asks_each_session_once_for_its_users(site: Site, client: Client) -> None:
    users = users_of(site)
    uids = [uid for pair in zip(*users.values(), strict=True) for uid in pair]
    client.send("presence", {"users": [*uids, uids[0]]}, 2)
    asked = by_peer(site, "where", 2)
    assert {peer: item[2] for peer, item in asked.items()} == {
        peer: [f"demo/{uid}" for uid in owned] for peer, owned in users.items()
    }
    for peer, item in asked.items():
        first, second = users[peer]
        site.give(peer, "ok", item[1], [*online(first), [f"demo/{second}", False, [], 0]])
    op, number, body = read(client)
    assert (op, number, body["count"], body["unknown"]) == ("ok", 2, 2, [])
    assert {row["uid"] for row in body["users"]} == {owned[0] for owned in users.values()}
    assert body["users"][0]["devices"] == [{"device": "d", "kind": "phone"}]


FAILURES: dict[str, Callable[[Site, str, int], None]] = {
    "it says unavailable": lambda site, peer, rid: site.give(peer, "err", rid, "unavailable", "", {}),
    "it says busy": lambda site, peer, rid: site.give(peer, "err", rid, "busy", "", {}),
    "its link is lost": lambda site, peer, rid: site.gateway.link_down(peer),
    "it does not answer": lambda site, peer, rid: site.front.requests.expire(site.front.now + 60),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_users_of_a_session_that_fails_are_unknown_not_offline(
    site: Site, client: Client, fail: Callable[[Site, str, int], None]
) -> None:
    users = users_of(site)
    client.send("presence", {"users": users["session-0"] + users["session-1"]}, 2)
    asked = by_peer(site, "where", 2)
    site.give("session-1", "ok", asked["session-1"][1], online(*users["session-1"]))
    fail(site, "session-0", asked["session-0"][1])
    op, _, body = read(client)
    assert (op, body["unknown"]) == ("ok", users["session-0"])
    assert [row["uid"] for row in body["users"]] == users["session-1"]


@pytest.mark.parametrize("how", ["down", "full"])
def test_users_of_a_session_that_cannot_be_asked_are_unknown(site: Site, client: Client, how: str) -> None:
    users = users_of(site)
    setattr(site.links, how, {"session-0"})
    client.send("presence", {"users": users["session-0"] + users["session-1"]}, 2)
    site.answer("where", online(*users["session-1"]))
    assert read(client)[2]["unknown"] == users["session-0"]


def test_a_session_that_does_not_know_says_so_for_each_user(site: Site, client: Client) -> None:
    uid = users_of(site)["session-0"][0]
    client.send("presence", {"users": [uid]}, 2)
    site.answer("where", [[f"demo/{uid}", None, [], 0]])
    assert read(client)[2] == {"count": 0, "users": [], "unknown": [uid]}


def test_presence_of_a_room_is_its_worlds_answer(site: Site, client: Client) -> None:
    client.send("presence", {"room": "plaza/lobby"}, 2)
    item = site.answer("presence", [7, [["ann", [["d", "web"]], 5]]])
    assert item[2:] == ["demo/plaza/lobby"]
    ann = {"uid": "ann", "devices": [{"device": "d", "kind": "web"}], "since": 5}
    assert read(client)[2] == {"count": 7, "users": [ann], "unknown": []}


def test_watch_tells_sessions_of_new_users_only_and_answers_how_it_is_now(site: Site, client: Client) -> None:
    users = users_of(site)
    uids = users["session-0"] + users["session-1"]
    client.send("watch", {"users": uids}, 2)
    watches = by_peer(site, "watch", 2)
    assert watches["session-0"] == ["watch", [f"demo/{uid}" for uid in users["session-0"]], False]
    asked = by_peer(site, "where", 2)
    site.give("session-0", "ok", asked["session-0"][1], online(*users["session-0"]))
    site.give("session-1", "err", asked["session-1"][1], "unavailable", "", {})
    rows = {row["uid"]: row["online"] for row in read(client)[2]["users"]}
    assert rows == {uid: True if uid in users["session-0"] else None for uid in uids}

    other = site.log_in("bob")
    other.send("watch", {"users": users["session-0"]}, 3)
    site.answer("where", online(*users["session-0"]))
    assert [item[0] for _, item in site.links.sent] == []
    assert read(other)[0] == "ok"


def test_the_last_watcher_that_goes_is_told_to_session(site: Site, client: Client) -> None:
    uid = users_of(site)["session-0"][0]
    other = site.log_in("bob")
    for number, each in enumerate((client, other), 2):
        each.send("watch", {"users": [uid]}, number)
        site.answer("where", online(uid))
        read(each)
    site.links.take()
    client.send("watch", {"users": [uid], "off": True}, 4)
    assert read(client)[0] == "ok"
    assert site.links.take() == []
    other.send("bye", {}, 0)
    assert site.asked("watch") == ("session-0", ["watch", [f"demo/{uid}"], True])


def test_a_watch_session_would_never_hear_of_is_busy(site: Site, client: Client) -> None:
    uid = users_of(site)["session-0"][0]
    site.links.full = {"session-0"}
    client.send("watch", {"users": [uid]}, 2)
    assert read(client)[2]["code"] == "busy"
    assert f"demo/{uid}" not in site.front.watchers
    site.links.full = set()
    client.send("watch", {"users": [uid]}, 3)
    assert site.asked("watch")[1][1] == [f"demo/{uid}"]


def test_a_watch_while_session_is_away_is_told_when_it_is_back(site: Site, client: Client) -> None:
    uid = users_of(site)["session-0"][0]
    site.links.down = {"session-0"}
    client.send("watch", {"users": [uid]}, 2)
    assert read(client)[2]["users"] == [{"uid": uid, "online": None}]
    site.links.down = set()
    site.gateway.link_up("session-0")
    assert site.listed("watches") == [f"demo/{uid}"]


def test_only_so_many_users_are_watched(make_site: MakeSite) -> None:
    site = make_site(watches_per_connection=2)
    client = site.log_in()
    client.send("watch", {"users": ["a", "b", "c"]}, 2)
    _, _, body = read(client)
    assert (body["code"], body["limit"]) == ("full", 2)
    assert not site.front.watchers


def send(client: Client, to: Any, number: int = 2) -> None:
    client.send("send", {"to": to, "data": "hi"}, number)


def test_send_goes_to_each_session_once_and_counts_who_was_reached(site: Site, client: Client) -> None:
    site.front.ids.take = lambda: 4_711  # type: ignore[method-assign]
    users = users_of(site)
    send(client, users["session-0"] + users["session-1"])
    asked = by_peer(site, "send", 2)
    for peer, item in asked.items():
        assert item[2:6] == [[f"demo/{uid}" for uid in users[peer]], 4_711, "ann", b"\xa2hi"]
    site.give("session-0", "ok", asked["session-0"][1], 2)
    site.give("session-1", "ok", asked["session-1"][1], 1)
    assert read(client) == ("ok", 2, {"mid": 4_711, "online": 3})


def test_send_counts_those_it_reached_when_one_session_is_away(site: Site, client: Client) -> None:
    site.front.ids.take = lambda: 4_711  # type: ignore[method-assign]
    users = users_of(site)
    site.links.down = {"session-0"}
    send(client, users["session-0"] + users["session-1"])
    site.answer("send", 2)
    assert read(client)[2] == {"mid": 4_711, "online": 2}


def test_send_fails_when_no_session_can_be_asked(site: Site, client: Client) -> None:
    site.front.ids.take = lambda: 4_711  # type: ignore[method-assign]
    site.links.down = {"session-0", "session-1"}
    send(client, "bob")
    assert read(client)[2]["code"] == "unavailable"


def test_kept_messages_that_cannot_be_stored_are_refused_not_confirmed(site: Site, client: Client) -> None:
    def away(*call: Any, **options: Any) -> None:
        raise Unavailable("storage is away")

    site.calls = away
    client.send("send", {"to": "bob", "data": 1, "keep": True}, 2)
    assert read(client)[2]["code"] == "unavailable"
    assert site.links.sent == []


def test_a_profile_is_set_at_the_users_function_and_read_in_one_call(site: Site, client: Client) -> None:
    calls: list[tuple[Any, ...]] = []

    def answer(peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        calls.append((method, *args))
        if method == "profile_set":
            return ["Ann", {"city": "Rome"}]
        return [[user, None, {}] for user in args[0]]

    site.calls = answer
    client.send("profile", {"set": {"name": "Ann", "city": "Rome"}}, 2)
    assert read(client)[2] == {"users": [{"uid": "ann", "name": "Ann", "profile": {"city": "Rome"}}]}
    client.send("profile", {"users": ["bob", "cat", "bob"]}, 3)
    assert [row["uid"] for row in read(client)[2]["users"]] == ["bob", "cat"]
    client.send("profile", {}, 4)
    assert [row["uid"] for row in read(client)[2]["users"]] == ["ann"]
    assert calls == [
        ("profile_set", "demo/ann", "Ann", {"city": "Rome"}),
        ("profile_get", ["demo/bob", "demo/cat"]),
        ("profile_get", ["demo/ann"]),
    ]


def test_a_taken_name_is_a_conflict(site: Site, client: Client) -> None:
    def refuse(*_call: Any, **_options: Any) -> Any:
        raise Conflict("the name is taken")

    site.calls = refuse
    client.send("profile", {"set": {"name": "Ann"}}, 2)
    assert read(client)[2]["code"] == "conflict"


def test_a_request_that_waits_holds_up_no_other_connection(site: Site, client: Client) -> None:
    client.send("presence", {"users": ["bob"]}, 2)
    site.asked("where")
    other = site.log_in("bob")
    other.send("ping", {}, 3)
    assert read(other)[:2] == ("pong", 3)
    settle()
