from __future__ import annotations

from typing import Any

import pytest

from common.errors import NotFound, Unavailable
from common.net.front.box import unpack_letter
from tests.common.net.front.letterbox import Letterbox
from tests.common.net.front.scene import Client, Site, until

MID = 4_711


class Saver(Letterbox):
    """A letterbox that also takes messages, or refuses them with `error`."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.sends: list[tuple[Any, ...]] = []

    def __call__(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        if method != "mail_send":
            return super().__call__(peer, method, *args, timeout=timeout)
        self.sends.append(args)
        if self.error is not None:
            raise self.error
        users = args[5]
        return [args[3], {user: 10 for user in users}, {user: 9 for user in users}]


@pytest.fixture
def saver(site: Site) -> Saver:
    site.calls = Saver()
    site.front.ids.take = lambda: MID  # type: ignore[method-assign]
    return site.calls


@pytest.fixture
def client(site: Site, saver: Saver) -> Client:
    return site.log_in("ann")


def users_by_session(site: Site, count: int = 8) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number in range(count):
        found.setdefault(site.process.places.session_of(f"demo/u{number}"), []).append(f"u{number}")
    assert len(found) == 2
    return found


def send(client: Client, to: Any, **fields: Any) -> None:
    client.send("send", {"to": to, "data": "hi", "keep": True, **fields}, 2)


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def test_a_message_is_stored_first_and_then_told_to_each_session_once(
    site: Site, saver: Saver, client: Client
) -> None:
    shards = users_by_session(site)
    send(client, sorted(sum(shards.values(), [])), key="k", ttl=60, receipt=True)
    for session, uids in shards.items():
        peer, item = site.asked("keep")
        expected = shards[peer]
        assert [row[0] for row in item[2]] == [f"demo/{uid}" for uid in expected]
        assert [row[1:] for row in item[2]] == [[10, 9]] * len(expected)
        assert item[3] == MID
        site.give(peer, "ok", item[1], 1)
        assert uids and session
    assert read(client) == ("ok", 2, {"mid": MID, "online": 2})
    [(product, sender, key, mid, body, _users, ttl, _digest)] = saver.sends
    assert (product, sender, key, mid, ttl) == ("demo", "ann", "k", MID, 60)
    letter = unpack_letter(body)
    assert (letter.uid, letter.data, letter.receipt) == ("ann", b"\xa2hi", True)


REFUSALS: dict[str, tuple[Exception, str]] = {
    "a receiver nobody knows": (NotFound("no", users=["bob"]), "not_found"),
    "storage away": (Unavailable("away"), "unavailable"),
}


@pytest.mark.parametrize("error, code", REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_stored_is_told_to_nobody(
    site: Site, saver: Saver, client: Client, error: Exception, code: str
) -> None:
    saver.error = error
    send(client, "bob")
    packet = read(client)
    assert (packet[0], packet[2]["code"]) == ("error", code)
    assert packet[2].get("users") == getattr(error, "facts", {}).get("users")
    assert site.links.take("keep") == []


def test_a_session_that_is_away_is_nudged_when_it_is_back(site: Site, saver: Saver, client: Client) -> None:
    session = site.process.places.session_of("demo/bob")
    site.links.down = {session}
    send(client, "bob")
    assert read(client) == ("ok", 2, {"mid": MID, "online": 0})
    site.links.down = set()
    site.front.mail._again()
    assert site.asked("keep") == (session, ["keep", 0, [["demo/bob", 10, 10]], 0, b""])


def test_a_session_that_dies_before_it_answers_is_nudged_too(
    site: Site, saver: Saver, client: Client
) -> None:
    session = site.process.places.session_of("demo/bob")
    send(client, "bob")
    site.asked("keep")
    site.gateway.link_down(session)
    assert read(client) == ("ok", 2, {"mid": MID, "online": 0})
    until(lambda: len(site.front.mail.untold) == 1)


def test_the_inbox_is_paged_from_both_streams_without_moving_anything(
    site: Site, saver: Saver, client: Client
) -> None:
    saver.messages["demo/ann"] = []
    saver.keep("a")
    saver.shout("all")
    saver.asked.clear()
    page = saver._load("demo/ann", "d", 0, 0, 100, 1, False)
    saver.away = False
    asked: list[Any] = []

    def load(peer: str, method: str, *args: Any, **options: Any) -> Any:
        asked.append((method, args))
        return page

    site.calls = load
    client.send("inbox", {"after": 0, "bafter": 0, "limit": 10}, 3)
    op, _, body = read(client)
    assert op == "ok"
    first, second = body["messages"]
    assert (first["data"], first["seq"], first["uid"]) == ("a", 2, "bob")
    assert (second["data"], second["bseq"]) == ("all", 2)
    assert (body["gap"], body["more"], body["seq"], body["bseq"]) == (False, False, 2, 2)
    client.send("inbox", {"after": 0}, 4)
    read(client)
    assert asked == [
        ("mail_load", ("demo/ann", "d", 0, 0, 10, 262_144, False)),
        ("mail_load", ("demo/ann", "d", 0, -1, 100, 262_144, False)),
    ]
