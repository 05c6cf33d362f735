from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import msgpack
import pytest

from common.net.front import poll as poll_module
from common.net.front import polls as polls_module
from common.net.front import relay as relay_module
from common.net.front.poll import PollConnection
from tests.common.net.front.asking import Answer, Browser, browser, read_until
from tests.common.net.front.scene import Site, until

ROOM = "demo/plaza/x"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(outbox_bytes=4_096)
    yield made
    made.close()


class Session:
    """A client that polls; each request on a connection of its own."""

    def __init__(self, site: Site, uid: str = "ann") -> None:
        self.site = site
        opening = gevent.spawn(browser(site).ask, "POST", "/poll/open", site.hello(uid))
        site.answer("open", [1_000, 5])
        self.answer: Answer = opening.get(timeout=5)
        self.sid = self.answer.json()["sid"]
        self.connection: PollConnection = site.connection(uid)  # type: ignore[assignment]

    def post(self, cursor: int = 0, n: int = 1, packets: Any = None, wait: int = 0) -> Answer:
        """Poll, and give the answer."""
        target = f"/poll?sid={self.sid}&cursor={cursor}&n={n}&wait={wait}"
        return browser(self.site).ask("POST", target, packets)

    def waiting(self, cursor: int = 0, wait: int = 20) -> gevent.Greenlet[..., Any]:
        """Poll in the background; returns once it waits."""
        before = self.connection.reader
        asking = gevent.spawn(self.post, cursor, 1, None, wait)
        until(lambda: self.connection.reader not in (before, None))
        return asking

    def stream(self, cursor: int = 0, **headers: str) -> Any:
        """Attach a stream of events; give its socket."""
        sock = self.site.browse()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        sock.sendall(f"GET /sse?sid={self.sid}&cursor={cursor} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
        until(lambda: self.connection.streaming)
        return sock

    def say(self, number: int) -> None:
        """Have the server say something to it."""
        self.site.give("session-0", "inbox", [self.connection.number], number, "bob", msgpack.packb("hi"), 5)


def mids(answer: Answer) -> list[int]:
    return [packet[2]["mid"] for packet in answer.json()["packets"]]


def test_open_gives_a_secret_and_the_welcome(site: Site):
    session = Session(site)
    answer = session.answer.json()
    owner, _, secret = answer["sid"].partition("-")
    assert (session.answer.status, owner, len(secret)) == (200, "0", 32)
    assert answer["welcome"]["uid"] == "ann"
    assert session.post().json() == {"cursor": 0, "packets": []}


def test_a_refused_open_has_the_error_and_leaves_nothing(site: Site):
    answer = browser(site).ask("POST", "/poll/open", {"v": 1, "token": "x", "device": "d"})
    assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
    answer = browser(site).ask("POST", "/poll/open", {"v": 1, "device": "d"})
    assert (answer.status, answer.json()["code"]) == (400, "bad_field")
    assert not site.front.half_open
    assert len(site.front.polls) == 0


def test_an_open_that_is_kicked_meanwhile_says_to_come_again(site: Site):
    opening = gevent.spawn(browser(site).ask, "POST", "/poll/open", site.hello("ann"))
    until(lambda: any(isinstance(one, PollConnection) for one in site.front.half_open))
    (connection,) = (one for one in site.front.half_open if isinstance(one, PollConnection))
    connection.kick("restart", "it restarts")
    site.answer("open", [1_000, 5])
    answer = opening.get(timeout=5)
    assert (answer.status, answer.json()["code"], answer.json()["retry"]) == (503, "unavailable", True)
    assert len(site.front.polls) == 0


def test_a_cursor_confirms_and_an_old_one_gives_the_same_again(site: Site):
    session = Session(site)
    for mid in (1, 2, 3):
        session.say(mid)
    assert mids(session.post(0)) == mids(session.post(0)) == [1, 2, 3]
    assert session.post(2).json()["cursor"] == 3
    assert mids(session.post(2)) == [3]
    assert session.post(4).json() == {
        "field": "cursor",
        "code": "bad_field",
        "message": "no packet has this number",
        "retry": False,
    }


def test_a_poll_waits_until_something_comes_and_a_later_one_takes_its_place(site: Site):
    session = Session(site)
    first = session.waiting()
    second = session.waiting()
    assert first.get(timeout=5).json() == {"cursor": 0, "packets": []}
    session.say(7)
    assert mids(second.get(timeout=5)) == [7]


def test_a_session_and_its_request_count_as_one(site: Site):
    session = Session(site)
    assert (len(site.front.web), site.front.held()) == (1, 1)
    asking = session.waiting()
    assert (len(site.front.web), site.front.held()) == (2, 2)
    session.say(7)
    asking.get(timeout=5)
    for sock in site._browsers:
        sock.close()
    until(lambda: not site.front.web)
    assert site.front.held() == 1, "its next request has a place"
    session.connection.kick("drain", "test")
    assert site.front.held() == 0


def test_a_poll_waits_no_longer_than_it_said(site: Site):
    assert Session(site).post(wait=1).json()["packets"] == []


def test_a_waiting_client_that_leaves_is_noticed(site: Site):
    session, others = Session(site), len(site.front.web)
    sock = site.browse()
    sock.sendall(
        f"POST /poll?sid={session.sid}&cursor=0&wait=20 HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode()
    )
    until(lambda: session.connection.reader is not None)
    sock.close()
    until(lambda: session.connection.reader is None and len(site.front.web) == others)


def test_packets_are_taken_once_and_in_order_however_posts_race(site: Site):
    session = Session(site)
    pings = [["ping", number, {}] for number in range(1, 5)]
    late = gevent.spawn(session.post, 0, 3, pings[2:])
    gevent.sleep(0.01)
    assert session.connection.taken == 0
    session.post(0, 1, pings[:2])
    session.post(0, 1, pings[:2])
    late.get(timeout=5)
    session.post(0, 2, pings[1:])
    until(lambda: session.connection.outbox.newest == 4)
    assert [packet[1] for packet in session.post().json()["packets"]] == [1, 2, 3, 4]


def test_packets_whose_forerunners_never_come_are_not_taken(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll_module, "AHEAD_SECONDS", 0.05)
    session = Session(site)
    answer = session.post(0, 3, [["ping", 3, {}]])
    assert (answer.status, answer.json()["code"], answer.json()["taken"]) == (503, "unavailable", 0)
    assert session.connection.taken == 0


BODIES = {
    "no JSON": (b"[", 400, "bad_packet"),
    "no array": (b"{}", 400, "bad_packet"),
    "a packet too large": ([["publish", 1, {"room": "plaza/x", "data": "x" * 70_000}]], 400, "bad_packet"),
    "too large altogether": (b"[" + b" " * 300_000 + b"]", 413, "bad_packet"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_cannot_be_taken_changes_nothing(site: Site, body: Any, status: int, code: str):
    session = Session(site)
    answer = session.post(0, 1, body)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert session.connection.taken == 0
    assert session.post().status == 200


def test_packets_ahead_wait_no_longer_though_others_come(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(poll_module, "AHEAD_SECONDS", 0.2)
    session = Session(site)
    ahead = gevent.spawn(session.post, 0, 1_000, [["ping", 1, {}]])
    for number in range(1, 500):
        session.post(0, number, [["ping", 0, {}]])
        if ahead.ready():
            break
    assert number < 499
    assert ahead.get(timeout=1).status == 503


def test_packets_that_wait_when_the_session_ends_hear_why_it_did(site: Site):
    session = Session(site)
    ahead = gevent.spawn(session.post, 0, 3, [["ping", 1, {}]])
    gevent.sleep(0.01)
    session.connection.kick("replaced", "elsewhere")
    assert [packet[0] for packet in ahead.get(timeout=1).json()["packets"]] == ["kick"]
    assert session.post(0, 1, [["ping", 1, {}]]).json()["packets"][0][0] == "kick"


def test_what_is_no_packet_ends_the_session_which_says_why(site: Site):
    session = Session(site)
    session.post(0, 1, [["ping", 1, {}], ["no packet"], ["ping", 2, {}]])
    until(lambda: session.connection.closed)
    ops = [packet[0] for packet in session.post().json()["packets"]]
    assert ops == ["pong", "error", "kick"]
    assert session.post(3).status == 404


@pytest.mark.parametrize(
    ("name", "value"), [("cursor", "x"), ("cursor", "-1"), ("wait", "26"), ("n", "0"), ("n", "²")]
)
def test_a_number_of_the_query_is_checked(site: Site, name: str, value: str):
    session = Session(site)
    target = f"/poll?sid={session.sid}&{name}={value.encode().hex('%') if not value.isascii() else value}"
    target = target.replace("c2%b2", "%C2%B2")
    answer = browser(site).ask("POST", target, [["ping", 1, {}]])
    assert (answer.status, answer.json()["field"]) == (400, name)


def test_packets_without_their_number_are_refused_and_not_taken_for_repeated_ones(site: Site):
    session = Session(site)
    session.post(0, 1, [["ping", 1, {}]])
    answer = browser(site).ask("POST", f"/poll?sid={session.sid}&cursor=0", [["ping", 2, {}]])
    assert (answer.status, answer.json()["field"]) == (400, "n")


def test_a_stream_gives_what_waits_and_what_comes_with_the_cursor_as_id(site: Site):
    session = Session(site)
    session.say(1)
    sock = session.stream()
    session.say(2)
    data = read_until(sock, b"id: 2")
    data += read_until(sock, b"\n\n") if not data.endswith(b"\n\n") else b""
    head, _, events = data.partition(b"\r\n\r\n")
    assert b"Content-Type: text/event-stream" in head
    assert events.startswith(b'id: 1\ndata: ["inbox",0,{')
    assert session.post(0).json() == {"cursor": 0, "packets": []}


def test_a_stream_goes_on_behind_the_last_id_and_ends_the_one_before(site: Site):
    session, others = Session(site), len(site.front.web)
    for mid in (1, 2, 3):
        session.say(mid)
    first = session.stream()
    read_until(first, b"id: 3")
    second = session.stream(cursor=0, Last_Event_ID="2")
    assert b"id: 2" not in read_until(second, b"id: 3")
    until(lambda: len(site.front.web) == others + 1)


def test_a_post_on_a_stream_confirms_and_brings_packets(site: Site):
    session = Session(site)
    session.say(1)
    sock = session.stream()
    read_until(sock, b"id: 1")
    assert session.post(1, 1, [["ping", 9, {}]]).json() == {"cursor": 1, "packets": []}
    assert b'id: 2\ndata: ["pong",9,{}]' in read_until(sock, b"pong")
    assert session.connection.outbox.confirmed == 1


def test_a_stream_whose_client_leaves_is_over_and_the_session_lives(site: Site):
    session = Session(site)
    sock = session.stream()
    sock.close()
    until(lambda: not session.connection.streaming)
    session.say(1)
    assert mids(session.post()) == [1]


def test_a_quiet_stream_gets_a_comment(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(polls_module, "COMMENT_SECONDS", 0.05)
    read_until(Session(site).stream(), b"\r\n\r\n:\n\n")


def test_a_session_nobody_asks_about_ends_and_one_with_a_stream_does_not(site: Site):
    quiet, streaming = Session(site, "ann"), Session(site, "bob")
    streaming.stream()
    site.front.now += poll_module.SILENT_SECONDS + 1
    site.front.polls.step()
    assert quiet.connection.closed
    assert not streaming.connection.closed
    assert [packet[0] for packet in quiet.post().json()["packets"]] == ["kick"]
    site.front.now += polls_module.KEPT_SECONDS + 1
    site.front.polls.step()
    assert quiet.post().status == 404


def test_close_ends_the_session_and_its_login(site: Site):
    session = Session(site)
    assert browser(site).ask("POST", f"/poll/close?sid={session.sid}").status == 204
    assert session.post().status == 404
    site.asked("close")


def test_bye_gives_no_more_than_what_was_said(site: Site):
    session = Session(site)
    session.post(0, 1, [["bye", 0, {}]])
    until(lambda: session.connection.closed)
    assert session.post().status == 404


def test_what_a_client_does_not_fetch_is_bounded_and_a_room_says_gap(site: Site):
    session = Session(site)
    joining = session.post(0, 1, [["join", 1, {"room": "plaza/x"}]])
    assert joining.status == 200
    site.answer("join", [4, 0, False, [], False, 1])
    world = site.process.places.world_of(ROOM)
    for offset in range(1, 11):
        site.give(world, "m", ROOM, offset, "bob", msgpack.packb("x" * 1_000), 5)
    assert session.connection.outbox.size <= 4_096
    page = session.post().json()
    heard = [packet[2]["offset"] for packet in page["packets"] if packet[0] == "message"]
    assert heard == list(range(1, len(heard) + 1))
    rest = session.post(page["cursor"]).json()["packets"]
    assert rest == [["gap", 0, {"room": "plaza/x", "epoch": 4, "offset": 10, "reason": "slow"}]]


def test_what_waits_comes_in_pages_that_a_slow_line_can_take():
    site = Site(outbox_bytes=262_144)
    try:
        session = Session(site)
        large = msgpack.packb("x" * 30_000)
        for mid in range(1, 6):
            site.give("session-0", "inbox", [session.connection.number], mid, "bob", large, 5)
        pages, cursor = [], 0
        while (answer := session.post(cursor)).json()["packets"]:
            pages.append(mids(answer))
            cursor = answer.json()["cursor"]
        assert pages == [[1, 2], [3, 4], [5]]
    finally:
        site.close()


def test_one_that_never_fetches_is_kicked_as_slow(site: Site):
    session = Session(site)
    for mid in range(1, 100):
        session.say(mid)
    assert session.connection.outbox.size > 4_096
    site.front.now += 60
    stuck = [one for one in site.front.stuck if one.stuck_for(site.front.now) > 15]
    assert stuck == [session.connection]


def test_a_large_body_with_half_a_character_is_taken(site: Site):
    session = Session(site)
    assert session.post(0, 1, b'[["ping",1,{"a":"\\ud800"}]' + b" " * 70_000 + b"]").status == 200
    until(lambda: session.connection.outbox.newest == 1)


def test_an_unknown_owner_or_secret_is_not_found(site: Site):
    session = Session(site)
    for sid in (
        "",
        "1" * 5_000 + "-x",
        "%D9%A1-x",
        "00-x",
        "0-" + "0" * 32,
        "99-" + "0" * 32,
        "x-y",
        session.sid[:-1],
    ):
        assert browser(site).ask("POST", f"/poll?sid={sid}&cursor=0").status == 404


def test_a_session_of_another_gateway_that_is_gone_is_not_found(site: Site):
    client: Browser = browser(site)
    assert client.ask("POST", "/poll?sid=1-" + "0" * 32).status == 404
    assert client.ask("GET", "/healthz").status == 200


class Owner:
    """Another gateway, which says what it is told to."""

    def __init__(self, site: Site, path: Any) -> None:
        site.process.places.web_socket = lambda index: str(path)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._listening.settimeout(5)
        self.asked = b""

    def answer(self, data: bytes) -> socket.socket:
        """Take a request and answer; give its connection."""
        sock, _ = self._listening.accept()
        self.asked = sock.recv(65_536)
        sock.sendall(data)
        return sock

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def owner(site: Site, tmp_path: Any) -> Iterator[Owner]:
    made = Owner(site, tmp_path / "web")
    yield made
    made.close()


FOREIGN = "sid=1-" + "0" * 32
CUT = {
    "no answer": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b'HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{"cursor":0,',
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT.keys())
def test_an_answer_of_the_owner_that_was_cut_is_none(site: Site, owner: Owner, data: bytes):
    asking = gevent.spawn(browser(site).ask, "POST", f"/poll?{FOREIGN}")
    owner.answer(data).close()
    answer = asking.get(timeout=5)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")


def test_an_owner_that_stands_still_is_waited_for_as_long_as_its_answer_may_take(
    site: Site, owner: Owner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay_module, "ANSWER_SECONDS", 0.1)
    assert browser(site).ask("POST", f"/poll?{FOREIGN}").status == 503
    waiting = gevent.spawn(browser(site).ask, "POST", f"/poll?{FOREIGN}&wait=1")
    gevent.sleep(0.05)
    owner.answer(b"").close()
    sock = owner.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    for _ in range(5):
        gevent.sleep(0.04)
    sock.sendall(b"{}")
    sock.close()
    assert (waiting.get(timeout=5).status, waiting.value.body) == (200, b"{}")


def test_a_stream_whose_owner_is_lost_ends_without_another_word(
    site: Site, owner: Owner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(relay_module, "STREAM_SECONDS", 0.05)
    sock = site.browse()
    sock.sendall(f"GET /sse?{FOREIGN} HTTP/1.1\r\n\r\n".encode())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n"
    held = owner.answer(head)
    said = b""
    while more := sock.recv(65_536):
        said += more
    assert said == head
    held.close()


def test_head_takes_no_readers_place(site: Site):
    session = Session(site)
    session.stream()
    reader = session.connection.reader
    assert browser(site).ask("HEAD", f"/sse?sid={session.sid}").status == 200
    assert session.connection.reader is reader


def test_a_stream_of_an_ended_session_is_not_found(site: Site):
    session = Session(site)
    session.connection.close("test")
    assert browser(site).ask("GET", f"/sse?sid={session.sid}").status == 404


def test_an_opening_cut_off_by_newer_ones_is_answered():
    site = Site(half_open_per_address=2, request_timeout=0.2)
    try:
        opening = gevent.spawn(browser(site).ask, "POST", "/poll/open", site.hello())
        until(lambda: len(site.front.half_open) == 1)
        for _ in range(2):
            site.browse()
        answer = opening.get(timeout=5)
        assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    finally:
        site.close()


def test_who_has_left_is_not_logged_in(site: Site):
    sock, body = site.browse(), json.dumps(site.hello()).encode()
    until(lambda: len(site.front.half_open) == 1)
    sock.sendall(b"POST /poll/open HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    sock.close()
    until(lambda: not site.front.web and not site.front.half_open)
    assert not [item for _, item in site.links.sent if item[0] == "open"]


def test_a_full_gateway_opens_no_more_sessions():
    site = Site(max_connections=1)
    try:
        Session(site)
        answer = browser(site).ask("POST", "/poll/open", site.hello("bob"))
        assert (answer.status, answer.json()["code"]) == (503, "busy")
    finally:
        site.close()


def test_nothing_is_kept_for_a_session_that_is_forgotten(site: Site):
    session = Session(site)
    session.say(1)
    session.connection.kick("drain", "test")
    site.front.now += 11
    site.front.polls.step()
    assert (len(site.front.polls), session.connection.outbox.size) == (0, 0)
    assert session.connection.outbox.after(0) == []
