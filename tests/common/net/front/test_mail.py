from __future__ import annotations

from typing import Any

import pytest

from common.net.front import mail
from common.net.front.connection import Connection
from common.rules.inbox import WINDOW_MESSAGES
from servers.gateway import RPC
from tests.common.net.front.letterbox import Letterbox
from tests.common.net.front.scene import Client, Site, settle, until


@pytest.fixture
def store(site: Site) -> Letterbox:
    site.calls = Letterbox()
    return site.calls


def enter(site: Site, uid: str = "ann") -> tuple[Client, dict[str, Any]]:
    """Give a client that is logged in, and its welcome."""
    client = site.connect()
    client.send("hello", site.hello(uid), 1)
    site.answer("open", [1_000, 5])
    packet = client.read()
    assert packet is not None
    assert packet[:2] == ("ok", 1)
    return client, packet[2]


def inbox(client: Client, *fields: str) -> list[Any]:
    """Read a packet, which must be an inbox message; give its data and the fields asked for."""
    packet = client.read()
    assert packet is not None
    assert packet[0] == "inbox", packet
    return [packet[2]["data"], *(packet[2].get(field) for field in fields)]


def quiet(client: Client) -> bool:
    """Tell whether nothing comes, though everybody had a moment."""
    settle()
    client.send("ping", {}, 99)
    packet = client.read()
    return packet is not None and packet[:2] == ("pong", 99)


def tell(site: Site, message: tuple[int, int, int, bytes], uid: str = "ann") -> None:
    """Hand over the live copy of a message."""
    seq, prev, mid, body = message
    site.give("session-0", "kept", [[site.connection(uid).number, seq, prev]], mid, body)


def shout(site: Site, message: tuple[int, int, int, bytes]) -> None:
    """Hand over the live copy of a broadcast."""
    bseq, prev, mid, body = message
    handler = RPC.get("broadcast")
    assert handler is not None
    handler(site.gateway, "demo", mid, body, bseq, prev, [], 0)


def read_again(site: Site, connections: list[Connection]) -> None:
    """Have mailboxes read as if something had passed them by."""
    for connection in connections:
        assert connection.box is not None
        connection.box.behind = True
        site.front.mail.want(connection)


def test_the_welcome_gives_the_positions_and_the_backlog_follows(site: Site, store: Letterbox) -> None:
    store.keep("a")
    store.keep("b")
    store.shout("all")
    store.positions["demo/ann", "d"] = [2, 0]
    client, welcome = enter(site)
    assert welcome["inbox"] == {"seq": 2, "bseq": 0, "gap": False}
    assert inbox(client, "seq", "bseq") == ["b", 4, None]
    assert inbox(client, "seq", "bseq") == ["all", None, 2]


def test_live_copies_that_follow_are_written_and_repeats_are_not(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    messages = [store.keep("a"), store.keep("b")]
    for message in (messages[0], messages[0], messages[1], messages[0]):
        tell(site, message)
    assert [inbox(client), inbox(client)] == [["a"], ["b"]]
    assert quiet(client)
    assert len(store.asked) == 1, "nothing was read again"


def test_a_hole_before_a_live_copy_is_read_from_the_mailbox(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    store.keep("lost on the way")
    tell(site, store.keep("b"))
    assert [inbox(client), inbox(client)] == [["lost on the way"], ["b"]]
    assert quiet(client)


def test_a_nudge_has_the_mailbox_read_and_is_not_written_itself(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    seq, *_ = store.keep("a")
    tell(site, (seq, seq, 0, b""))
    assert inbox(client) == ["a"]
    tell(site, (seq, seq, 0, b""))
    assert quiet(client)


def test_what_comes_live_before_the_mailbox_was_read_waits_for_it(site: Site, store: Letterbox) -> None:
    store.away = True
    client, welcome = enter(site)
    assert welcome["inbox"] is None
    tell(site, store.keep("a"))
    assert quiet(client)
    store.away = False
    site.front.mail._again()
    assert inbox(client) == ["a"]


@pytest.mark.parametrize("away", [True, False], ids=["not read", "read"])
def test_who_leaves_while_its_mailbox_is_read_holds_up_nobody(
    site: Site, store: Letterbox, away: bool
) -> None:
    client, _ = enter(site)
    enter(site, "leaver")

    def leaves(peer: str, method: str, *args: Any, **options: Any) -> Any:
        site.calls = store
        site.connection("leaver").close("lost")
        store.away = away
        return store(peer, method, *args, **options)

    store.keep("a", "ann")
    store.keep("b", "leaver")
    site.calls = leaves
    read_again(site, [site.connection("leaver"), site.connection("ann")])
    settle()
    store.away = False
    site.front.mail._again()
    assert inbox(client) == ["a"]
    assert len(site.process.tasks) >= mail.READERS + 2, "all readers live"


def test_no_more_than_the_window_is_unacked_whichever_stream_it_came_by(site: Site, store: Letterbox) -> None:
    for number in range(WINDOW_MESSAGES + 20):
        store.keep(number)
        store.shout(number)
    client, _ = enter(site)
    heard = [inbox(client, "seq") for _ in range(WINDOW_MESSAGES)]
    assert heard[-1] == [WINDOW_MESSAGES - 1, 2 * WINDOW_MESSAGES]
    assert quiet(client)
    client.send("ack", {"seq": 2 * WINDOW_MESSAGES}, 0)
    rest = [inbox(client, "seq", "bseq") for _ in range(WINDOW_MESSAGES)]
    assert rest[19:21] == [[WINDOW_MESSAGES + 19, 2 * WINDOW_MESSAGES + 40, None], [0, None, 2]]
    assert quiet(client)
    client.send("ack", {"bseq": 160}, 0)
    more = [inbox(client, "bseq") for _ in range(40)]
    assert more == [[number, 2 * number + 2] for number in range(80, 120)]
    assert quiet(client)


def test_a_broadcast_waits_while_the_window_is_full(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    for number in range(WINDOW_MESSAGES + 1):
        tell(site, store.keep(number))
    shout(site, store.shout("all"))
    for _ in range(WINDOW_MESSAGES):
        inbox(client)
    assert quiet(client)
    client.send("ack", {"seq": 200}, 0)
    assert [inbox(client, "bseq"), inbox(client, "bseq")] == [[WINDOW_MESSAGES, None], ["all", 2]]


def test_a_broadcast_that_follows_is_written_as_it_is(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    for data in ("one", "two"):
        shout(site, store.shout(data))
    assert [inbox(client, "bseq"), inbox(client, "bseq")] == [["one", 2], ["two", 4]]
    assert len(store.asked) == 1, "the log was not read"


def test_a_gap_is_told_by_the_first_message_written_after_it(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    store.gap = True
    store.keep("a")
    tell(site, store.keep("b"))
    assert [inbox(client, "gap"), inbox(client, "gap")] == [["a", True], ["b", None]]


@pytest.mark.parametrize("by_broadcast", [False, True], ids=["message", "broadcast"])
def test_a_gap_with_nothing_left_behind_it_is_told_by_what_comes_next(
    site: Site, store: Letterbox, by_broadcast: bool
) -> None:
    client, _ = enter(site)
    store.gap = True
    read_again(site, [site.connection()])
    assert quiet(client)
    if by_broadcast:
        shout(site, store.shout("b"))
    else:
        tell(site, store.keep("b"))
    assert inbox(client, "gap") == ["b", True]


def test_a_gap_the_welcome_told_is_not_told_again(site: Site, store: Letterbox) -> None:
    store.gap = True
    client, welcome = enter(site)
    assert welcome["inbox"]["gap"] is True
    tell(site, store.keep("a"))
    assert inbox(client, "gap") == ["a", None]


def test_whoever_waits_longest_is_read_first(
    site: Site, store: Letterbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [enter(site, f"u{number}")[0] for number in range(6)]
    monkeypatch.setattr(mail, "READ_AT_ONCE", 2)
    store.asked.clear()
    read_again(site, list(site.front.connections.values()))
    until(lambda: len(store.asked) == len(clients))
    assert [row[0] for row in store.asked] == [f"demo/u{number}" for number in range(6)]


def test_a_number_never_given_is_refused_and_moves_nothing(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    tell(site, store.keep("a"))
    inbox(client)
    for field in ("seq", "bseq"):
        client.send("ack", {field: 999}, 7)
        packet = client.read()
        assert packet is not None
        assert (packet[0], packet[2]["code"], packet[2]["field"]) == ("error", "bad_field", field)
    box = site.connection().box
    assert box is not None and (box.seq.acked, box.bseq.acked) == (0, 0)


def test_a_number_paging_gave_may_be_acked_and_is_not_sent_any_more(site: Site, store: Letterbox) -> None:
    for number in range(WINDOW_MESSAGES + 10):
        store.keep(number)
    client, _ = enter(site)
    for _ in range(WINDOW_MESSAGES):
        inbox(client)
    last = 2 * (WINDOW_MESSAGES + 10)
    client.send("ack", {"seq": last}, 7)
    assert client.read() == ("ok", 7, {})
    assert store.positions["demo/ann", "d"] == [last, 0]
    tell(site, store.keep("next"))
    assert inbox(client) == ["next"]


def test_while_storage_is_away_nothing_can_be_acked_by_who_has_nothing(site: Site, store: Letterbox) -> None:
    store.away = True
    client, _ = enter(site)
    client.send("ack", {"seq": 2}, 7)
    packet = client.read()
    assert packet is not None
    assert packet[2]["code"] == "unavailable"


def test_an_ack_lets_the_sender_hear_once_which_device_has_it(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    _, _, mid, _ = message = store.keep("a", receipt=True)
    tell(site, message)
    tell(site, store.keep("b"))
    inbox(client), inbox(client)
    site.links.take()
    client.send("ack", {"seq": 2}, 0)
    client.send("ack", {"seq": 4}, 0)
    _, item = site.asked("receipt")
    assert item[1:5] == ["demo/bob", mid, "ann", "d"]
    assert quiet(client)
    assert site.links.take("receipt") == []


def test_the_server_has_no_connection_that_could_hear_a_receipt(site: Site, store: Letterbox) -> None:
    client, _ = enter(site)
    tell(site, store.keep("a", receipt=True, sender=""))
    inbox(client)
    client.send("ack", {"seq": 2}, 0)
    assert quiet(client)
    assert site.links.take("receipt") == []
