from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from common.net.front import announcing
from tests.common.net.front.letterbox import Letterbox
from tests.common.net.front.scene import Client, Site, settle, until

SESSION, OTHER = "session-0", "session-1"


def hold(site: Site, count: int, session: str = SESSION) -> list[int]:
    """Have the gateway hold so many connections that do nothing; give their numbers."""
    numbers = []
    for _ in range(count):
        number = site.front.next_number()
        site.front.connections[number] = SimpleNamespace(  # type: ignore[assignment]
            number=number,
            user=f"demo/u{number}",
            session=session,
            device="d",
            kind="web",
            epoch=5_000,
            tags=(),
            box=None,
            closed=False,
        )
        numbers.append(number)
    return numbers


@pytest.fixture
def bare(site: Site) -> Any:
    """A gateway whose connections are taken out again before it ends."""
    yield site
    site.front.connections.clear()


def rows_of(items: list[tuple[str, list[Any]]], kind: str) -> list[Any]:
    return [row for _, item in items if item[0] == kind for row in item[1]]


def inbox(client: Client) -> Any:
    packet = client.read()
    assert packet is not None
    assert packet[0] == "inbox"
    return packet[2]["data"]


def test_both_lists_begin_before_anything_else_can_be_said(bare: Site) -> None:
    hold(bare, 1)
    bare.gateway.link_up(SESSION)
    assert bare.links.take() == [
        (SESSION, ["announce", [], True, False]),
        (SESSION, ["watches", [], True, False]),
    ]


def test_a_session_hears_of_all_its_logins_and_of_no_others(bare: Site) -> None:
    ours = hold(bare, 2 * announcing.ANNOUNCED + 1)
    hold(bare, 5, OTHER)
    bare.gateway.link_up(SESSION)
    rows = bare.listed("announce")
    assert [row[0] for row in rows] == ours
    assert rows[0] == [ours[0], f"demo/u{ours[0]}", "d", "web", 5_000, 5, []]
    assert bare.listed("watches") == []


def test_others_run_between_any_two_parts_of_an_announcement(bare: Site) -> None:
    hold(bare, 20 * announcing.ANNOUNCED)
    bare.gateway.link_up(SESSION)
    bare.links.take()
    most = 0
    while bare.gateway.announcing:
        gevent.sleep(0)
        most = max(most, len(rows_of(bare.links.take(), "announce")))
    assert 0 < most <= announcing.ANNOUNCED


def test_who_leaves_during_the_walk_is_not_announced(bare: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "ANNOUNCED", 1)
    first, second = hold(bare, 2)
    bare.gateway.link_up(SESSION)
    while not any(item[1] for _, item in bare.links.sent):
        gevent.sleep(0)
    del bare.front.connections[second]
    assert [row[0] for row in bare.listed("announce")] == [first]


def test_what_waited_for_a_full_link_is_told_as_it_is_then(
    bare: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "FULL_SECONDS", 0.001)
    first, second = hold(bare, 2)
    bare.gateway.link_up(SESSION)
    bare.links.full = {SESSION}
    settle()
    del bare.front.connections[first]
    bare.links.full = set()
    assert [row[0] for row in bare.listed("announce")] == [second]


def test_a_stream_that_begins_anew_has_one_list_that_ends_once(bare: Site) -> None:
    ours = hold(bare, 3 * announcing.ANNOUNCED)
    bare.gateway.link_up(SESSION)
    while not any(item[1] for _, item in bare.links.sent):
        gevent.sleep(0)
    bare.gateway.link_down(SESSION)
    bare.links.take()
    bare.gateway.link_up(SESSION)
    until(lambda: not bare.gateway.announcing)
    items = bare.links.take()
    assert [row[0] for row in rows_of(items, "announce")] == ours
    assert [item for _, item in items if item[3]] == [
        ["announce", [], False, True],
        ["watches", [], False, True],
    ]


def test_only_mailboxes_that_hold_more_than_was_sent_are_read_again(site: Site) -> None:
    store = site.calls = Letterbox()
    clients = {uid: site.log_in(uid) for uid in ("u0", "u1", "u2", "u3")}
    session = {uid: site.process.places.session_of(f"demo/{uid}") for uid in clients}
    store.asked.clear()
    store.keep("missed", "u1")
    site.gateway.link_up(session["u1"])
    assert inbox(clients["u1"]) == "missed"
    until(lambda: not site.gateway.announcing)
    assert [row[0] for row in store.asked] == ["demo/u1"]


def test_a_kept_broadcast_that_was_missed_is_read_too(site: Site) -> None:
    store = site.calls = Letterbox()
    client = site.log_in()
    store.shout("missed")
    site.gateway.link_up(site.connection().session)
    assert inbox(client) == "missed"


def test_what_came_while_the_first_read_was_under_way_is_read_behind_it(site: Site) -> None:
    store = Letterbox()
    client, go_on = site.open_unwelcomed()
    store.keep("missed")
    slow = site.calls
    site.calls = lambda peer, method, *args, **options: (
        store(peer, method, *args) if method == "mail_newest" else slow(peer, method, *args, **options)
    )
    site.gateway.link_up(site.connection().session)
    until(lambda: not site.gateway.announcing)
    site.calls = store
    go_on.set()
    packet = client.read()
    assert packet is not None
    assert packet[0] == "ok"
    assert inbox(client) == "missed"


def test_storage_away_is_asked_again_until_it_tells(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "AGAIN_SECONDS", 0.001)
    store = site.calls = Letterbox()
    client = site.log_in()
    store.keep("missed")
    store.away = True
    site.gateway.link_up(site.connection().session)
    settle()
    assert len(site.gateway.announcing) == 1
    store.away = False
    assert inbox(client) == "missed"
