from __future__ import annotations

import time
from collections.abc import Callable
from socket import MSG_MORE
from typing import Any

import gevent
import pytest

from common.net.front import login
from common.net.front.stream import StreamConnection
from common.settings import TokenKey
from common.wire.tickets import issue_ticket
from tests.common.net.front.scene import SECRET, Client, Site, framed, settle
from tests.tokens import sign_token

MakeSite = Callable[..., Site]


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def test_a_login_is_opened_at_session_and_welcomed(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 5)
    _, opening = site.asked("open")
    assert opening[2:6] == [1, "demo/ann", "d", "web"]
    assert opening[6] == 0
    assert abs(opening[7] - time.time() * 1000 - 10_000) < 2_000
    site.give("session-0", "ok", opening[1], [77, 5])
    op, number, welcome = read(client)
    assert (op, number) == ("ok", 5)
    assert (welcome["uid"], welcome["product"], welcome["session"]) == ("ann", "demo", "4d")
    connection = site.connection()
    assert (connection.epoch, connection.device, connection.kind) == (77, "d", "web")
    assert not site.front.half_open


def test_what_follows_hello_waits_for_the_welcome(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    client.send("join", {"room": "plaza/lobby"}, 2)
    settle()
    assert [item[0] for _, item in site.links.sent] == ["open"]
    site.answer("open", [77, 5])
    site.answer("join", [9, 0, False, [], False, 1])
    assert [read(client)[:2] for _ in range(2)] == [("ok", 1), ("ok", 2)]


class Noting:
    """A connection's socket that notes which writes the system may hold back."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.held: list[bool] = []

    def send(self, data: bytes, flags: int = 0) -> int:
        self.held.append(bool(flags & MSG_MORE))
        sent: int = self._sock.send(data)
        return sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.mark.parametrize(("behind", "held"), [("join", True), ("publish", False), ("", False)])
def test_the_welcome_goes_out_with_the_answer_of_a_join_behind_it_and_of_nothing_else(
    site: Site, behind: str, held: bool
) -> None:
    client = site.connect()
    (connection,) = site.front.half_open
    assert isinstance(connection, StreamConnection)
    noting = connection.sock = Noting(connection.sock)
    words = framed("hello", 1, site.hello())
    if behind:
        words += framed(behind, 2, {"room": "plaza/lobby", "data": 1})
    client.socket.sendall(words)
    site.answer("open", [77, 5])
    if behind == "join":
        site.answer("join", [9, 0, False, [], False, 1])
    assert [read(client)[1] for _ in range(2 if behind else 1)] == [1, 2][: 2 if behind else 1]
    assert noting.held == [held, False][: 2 if behind else 1]


def test_a_client_that_left_before_its_hello_was_read_is_not_logged_in(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    client.socket.close()
    settle()
    assert not site.links.sent
    assert not site.front.half_open


def test_the_welcome_is_the_first_a_client_hears_and_nothing_said_before_it_is_lost(site: Site) -> None:
    client, go_on = site.open_unwelcomed()
    for mid in (1, 2):
        site.give("session-0", "inbox", [site.connection().number], mid, "bob", b"\x01", 5)
    settle()
    go_on.set()
    heard = [read(client) for _ in range(3)]
    assert [(op, body.get("mid")) for op, _, body in heard] == [("ok", None), ("inbox", 1), ("inbox", 2)]
    site.give("session-0", "inbox", [site.connection().number], 3, "bob", b"\x01", 5)
    assert read(client)[2]["mid"] == 3
    assert site.connection() not in site.front.entrance


def test_who_is_kicked_before_its_welcome_hears_why(site: Site) -> None:
    client, go_on = site.open_unwelcomed()
    site.give("session-0", "inbox", [site.connection().number], 1, "bob", b"\x01", 5)
    site.give("session-0", "kick", site.connection().number, 77, "replaced", "elsewhere")
    op, _, body = read(client)
    assert (op, body["code"]) == ("kick", "replaced")
    assert client.read() is None
    go_on.set()
    settle()


def test_a_mailbox_that_takes_long_does_not_keep_the_client_from_its_welcome(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "MAILBOX_SECONDS", 0.05)
    client, go_on = site.open_unwelcomed()
    op, number, welcome = read(client)
    assert (op, number, welcome["inbox"]) == ("ok", 1, None)
    go_on.set()
    client.send("ping", {}, 2)
    assert read(client)[:2] == ("pong", 2)


def test_a_resumed_login_names_its_epoch(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    site.answer("open", [77, 5])
    resume = read(client)[2]["resume"]
    again = site.connect()
    again.send("hello", {"v": 1, "resume": resume, "device": "d"}, 1)
    assert site.answer("open", [78, 5])[3:7] == ["demo/ann", "d", "web", 77]
    assert read(again)[0] == "ok"


def ticket(
    site: Site, uid: str = "ann", gateway: str = "gateway-0", lasts: int = 20, nonce: bytes = b"n" * 12
) -> str:
    secret = site.process.secrets.resume_key.encode()
    return issue_ticket(secret, f"demo/{uid}", gateway, int(time.time()) + lasts, nonce)


def test_a_ticket_goes_to_session_with_its_nonce_and_end(site: Site) -> None:
    client = site.connect()
    given = ticket(site)
    client.send("hello", {**site.hello(), "ticket": given}, 1)
    end, nonce, _ = given.split(".")
    assert site.answer("open", [77, 5])[-1] == [nonce, int(end)]
    assert read(client)[0] == "ok"


NO_TICKETS: dict[str, dict[str, Any]] = {
    "another user's": {"uid": "bob"},
    "for another gateway": {"gateway": "gateway-1"},
    "over": {"lasts": -1},
}


@pytest.mark.parametrize("facts", NO_TICKETS.values(), ids=NO_TICKETS)
@pytest.mark.parametrize("required", [False, True], ids=["", "required"])
def test_a_ticket_that_is_worth_nothing_here_is_unauthorized_and_asks_nobody(
    make_site: MakeSite, facts: dict[str, Any], required: bool
) -> None:
    site = make_site(ticket_required=required)
    client = site.connect()
    client.send("hello", {**site.hello(), "ticket": ticket(site, **facts)}, 1)
    assert read(client)[2]["code"] == "unauthorized"
    assert client.read() is None
    assert site.links.sent == []


def test_where_tickets_are_required_a_token_alone_is_unauthorized_and_resume_needs_none(
    make_site: MakeSite,
) -> None:
    site = make_site(ticket_required=True)
    bare = site.connect()
    bare.send("hello", site.hello(), 1)
    assert read(bare)[2]["code"] == "unauthorized"
    client = site.connect()
    client.send("hello", {**site.hello(), "ticket": ticket(site)}, 1)
    site.answer("open", [77, 5])
    resume = read(client)[2]["resume"]
    for more in ({}, {"ticket": "not even looked at"}):
        again = site.connect()
        again.send("hello", {"v": 1, "resume": resume, "device": "d", **more}, 1)
        assert site.answer("open", [78, 5])[-1] == []
        assert read(again)[0] == "ok"


def test_a_login_session_refuses_is_told_why_and_ended(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    site.refuse("open", "conflict")
    op, number, body = read(client)
    assert (op, number, body["code"]) == ("error", 1, "conflict")
    assert client.read() is None
    assert not site.front.half_open
    assert site.front.counters.logins_refused == 1


def test_what_a_refusing_session_may_have_opened_is_closed_again(site: Site) -> None:
    site.connect().send("hello", site.hello(), 1)
    site.refuse("open", "unavailable")
    assert site.asked("close")[1][1:4] == [1, "demo/ann", "d"]


def test_a_login_nobody_answers_times_out_is_closed_and_a_late_answer_changes_nothing(
    make_site: MakeSite,
) -> None:
    site = make_site(request_timeout=0.1)
    client = site.connect()
    client.send("hello", site.hello(), 1)
    peer, opening = site.asked("open")
    assert read(client)[2]["code"] == "timeout"
    assert site.asked("close")[1][1:4] == [1, "demo/ann", "d"]
    site.give(peer, "ok", opening[1], [77, 5])
    settle()
    assert not site.front.connections


def test_a_login_whose_session_is_away_fails_at_once(site: Site) -> None:
    site.links.down = {"session-0", "session-1"}
    client = site.connect()
    client.send("hello", site.hello(), 1)
    assert read(client)[2]["code"] == "unavailable"
    assert client.read() is None
    assert not site.links.sent


def test_a_connection_that_ended_before_its_login_was_opened_is_logged_out_again(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    peer, opening = site.asked("open")
    next(iter(site.front.half_open)).close("too many of its address")
    assert client.read() is None
    assert site.links.sent == []
    site.give(peer, "ok", opening[1], [77, 5])
    assert site.asked("close")[1][1:] == [1, "demo/ann", "d", 77, False]
    assert not site.front.connections


def test_a_client_that_hangs_up_during_its_login_is_logged_out_right_after_it(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    peer, opening = site.asked("open")
    client.socket.close()
    settle()
    site.give(peer, "ok", opening[1], [77, 5])
    assert site.asked("close")[1][1:] == [1, "demo/ann", "d", 77, False]
    assert not site.front.connections


def test_a_kick_right_behind_the_ok_ends_the_login_it_means(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    peer, opening = site.asked("open")
    site.give(peer, "ok", opening[1], [77, 5])
    site.give(peer, "kick", 1, 77, "replaced", "the same device logged in")
    op, _, body = read(client)
    assert (op, body["code"], body["reconnect"]) == ("kick", "replaced", False)
    assert site.asked("close")[1][1:] == [1, "demo/ann", "d", 77, False]


def test_a_kick_of_another_login_epoch_ends_nothing(site: Site) -> None:
    site.log_in(epoch=77)
    site.give("session-0", "kick", 1, 76, "replaced", "late")
    assert len(site.front.connections) == 1


def test_a_lost_link_to_session_fails_the_login(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello(), 1)
    peer, _ = site.asked("open")
    site.gateway.link_down(peer)
    assert read(client)[2]["code"] == "unavailable"


def test_bye_ends_the_login_for_good(site: Site) -> None:
    client = site.log_in(epoch=77)
    client.send("bye", {}, 0)
    assert client.read() is None
    assert site.asked("close")[1][1:] == [1, "demo/ann", "d", 77, True]


def test_a_second_hello_is_a_conflict_and_the_login_stays(site: Site) -> None:
    client = site.log_in()
    client.send("hello", site.hello(), 2)
    assert read(client)[2]["code"] == "conflict"
    assert len(site.front.connections) == 1


REFRESHES: dict[str, tuple[str, str, str | None]] = {
    "the same user": ("ann", "demo", None),
    "another user": ("bob", "demo", "bad_field"),
    "the same uid of another product": ("ann", "other", "bad_field"),
}


@pytest.mark.parametrize(("uid", "product", "code"), REFRESHES.values(), ids=REFRESHES)
def test_refresh_goes_on_under_a_newer_token_of_the_same_user_only(
    site: Site, uid: str, product: str, code: str | None
) -> None:
    client = site.log_in()
    exp = int(time.time()) + 7_200
    client.send("refresh", {"token": sign_token(uid, product, exp, TokenKey(key=SECRET))}, 2)
    op, _, body = read(client)
    if code is None:
        assert (op, body["exp"]) == ("ok", exp * 1000)
        assert site.connection().exp >= exp
    else:
        assert (op, body["code"]) == ("error", code)
        assert site.connection().exp < exp


def test_a_refresh_changes_the_rights(site: Site) -> None:
    client = site.log_in()
    rooms = {"plaza/a*": ["join"]}
    token = sign_token("ann", "demo", int(time.time()) + 3_600, TokenKey(key=SECRET), rooms=rooms)
    client.send("refresh", {"token": token}, 2)
    read(client)
    client.send("join", {"room": "plaza/lobby"}, 3)
    assert read(client)[2]["code"] == "forbidden"


def test_a_ping_among_other_packets_is_answered(site: Site) -> None:
    client = site.log_in()
    client.send("ping", {}, 2)
    client.send("ping", {}, 0)
    client.send("ping", {}, 3)
    assert [read(client) for _ in range(2)] == [("pong", 2, {}), ("pong", 3, {})]


def test_logins_that_were_superseded_while_the_gateway_was_away_are_told_to_come_back(site: Site) -> None:
    client = site.log_in()
    site.give("session-0", "stale", [1, 99])
    op, _, body = read(client)
    assert (op, body["code"], body["reconnect"]) == ("kick", "restart", True)


def test_a_login_that_waits_keeps_no_other_from_coming_in(site: Site) -> None:
    waiting = site.connect()
    waiting.send("hello", site.hello("slow"), 1)
    site.asked("open")
    with gevent.Timeout(2):
        site.log_in("ann")
