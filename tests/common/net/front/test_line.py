from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from common.net.front.line import WAITING
from tests.common.net.front.scene import Client, Site, empty_mailboxes, settle, until

MakeSite = Callable[..., Site]


class Hanging:
    """Function and dbservers that answer nothing about profiles until told to."""

    def __init__(self, site: Site) -> None:
        self.go_on = Event()
        self.asked: list[Any] = []
        site.calls = self.call

    def call(self, peer: str, method: str, *args: Any, **options: Any) -> Any:
        if method == "mail_load_many":
            return empty_mailboxes(peer, method, *args, **options)
        self.asked.append(args[0])
        self.go_on.wait()
        return [[user, None, {}] for user in args[0]]


def read(client: Client, number: int = 1) -> list[tuple[str, int, str]]:
    """Give (op, number, error's code or "") of the next packets."""
    packets = [client.read() for _ in range(number)]
    return [(p[0], p[1], p[2].get("code", "")) for p in packets if p is not None]


def test_pings_and_rooms_do_not_wait_for_a_process_that_hangs(site: Site) -> None:
    client, hanging = site.log_in(), Hanging(site)
    client.send("profile", {"users": ["bob"]}, 1)
    client.send("ping", {}, 2)
    client.send("join", {"room": "plaza/lobby"}, 3)
    assert read(client) == [("pong", 2, "")]
    site.answer("join", [9, 0, False, [], False, 1])
    assert read(client) == [("ok", 3, "")]
    hanging.go_on.set()
    assert read(client) == [("ok", 1, "")]


def test_requests_in_line_are_carried_out_one_after_the_other(site: Site) -> None:
    client, hanging = site.log_in(), Hanging(site)
    for number, uid in enumerate(("a", "b", "c"), 1):
        client.send("profile", {"users": [uid]}, number)
    settle()
    assert hanging.asked == [["demo/a"]]
    hanging.go_on.set()
    assert [number for _, number, _ in read(client, 3)] == [1, 2, 3]
    assert hanging.asked == [["demo/a"], ["demo/b"], ["demo/c"]]


def test_each_request_ends_in_time_and_what_waited_too_long_is_not_carried_out(make_site: MakeSite) -> None:
    site = make_site(request_timeout=0.3)
    client, hanging = site.log_in(), Hanging(site)
    began = time.monotonic()
    for number in (1, 2, 3):
        client.send("profile", {"users": ["bob"]}, number)
    assert read(client, 3) == [("error", number, "timeout") for number in (1, 2, 3)]
    assert time.monotonic() - began < 2.0
    assert len(hanging.asked) == 1


def test_bye_goes_behind_what_is_in_line(site: Site) -> None:
    client, hanging = site.log_in(), Hanging(site)
    client.send("profile", {"users": ["bob"]}, 1)
    client.send("bye", {}, 2)
    client.send("ping", {}, 3)
    assert read(client) == [("pong", 3, "")]
    hanging.go_on.set()
    assert read(client) == [("ok", 1, "")]
    assert client.read() is None


def test_no_more_is_read_from_a_client_with_too_many_in_line(site: Site) -> None:
    client, hanging = site.log_in(), Hanging(site)
    for number in range(1, WAITING + 2):
        client.send("profile", {"users": ["bob"]}, number)
    client.send("ping", {}, 99)
    settle()
    hanging.go_on.set()
    answers = [number for _, number, _ in read(client, WAITING + 2)]
    assert answers[0] == 1 and sorted(answers) == [*range(1, WAITING + 2), 99]
    assert answers.index(99) >= 1


def test_what_is_in_line_of_a_client_that_has_gone_is_not_carried_out(site: Site) -> None:
    client, hanging = site.log_in(), Hanging(site)
    for number in (1, 2):
        client.send("profile", {"users": ["bob"]}, number)
    until(lambda: bool(hanging.asked))
    connection = site.connection()
    connection.kick("replaced", "elsewhere")
    hanging.go_on.set()
    until(lambda: connection not in site.front.lines)
    assert len(hanging.asked) == 1


def test_a_connection_with_something_in_line_is_not_parked(make_site: MakeSite) -> None:
    site = make_site(park_after=0.05)
    client, hanging = site.log_in(), Hanging(site)
    client.send("profile", {"users": ["bob"]}, 1)
    until(lambda: bool(hanging.asked))
    pause_until = time.monotonic() + 0.4
    until(lambda: time.monotonic() > pause_until)
    assert site.connection().talk is not None
    hanging.go_on.set()
    assert read(client) == [("ok", 1, "")]
    until(lambda: site.connection().talk is None)


def test_a_defect_of_a_handler_ends_its_connection_only(site: Site) -> None:
    client, other = site.log_in(), site.log_in("bob", "e")

    def broken(peer: str, method: str, *args: Any, **options: Any) -> Any:
        raise ValueError("a defect")

    site.calls = broken
    client.send("profile", {"users": ["bob"]}, 1)
    assert read(client) == [("kick", 0, "internal")]
    assert client.read() is None
    other.send("ping", {}, 1)
    assert read(other) == [("pong", 1, "")]
