from __future__ import annotations

import time
from collections.abc import Callable

from common.net.front import leaving
from common.net.front.sockets import TlsSocket
from tests.common.net.front.scene import Client, Site
from tests.common.net.front.test_polls import Session

MakeSite = Callable[..., Site]
NOWHERE: dict[str, list[str]] = {}


def told(client: Client) -> float:
    """Give the `after` of the goaway a client hears next."""
    packet = client.read()
    assert packet is not None and packet[:2] == ("goaway", 0)
    assert packet[2]["reason"] == "drain"
    after: float = packet[2]["after"]
    return after


def test_clients_are_told_to_leave_at_the_pace_of_the_settings(make_site: MakeSite) -> None:
    site = make_site(drain_per_second=50)
    clients = [site.log_in(f"user{number}") for number in range(10)]
    began = time.monotonic()
    leaving.tell_all(site.front, NOWHERE)
    assert time.monotonic() - began >= 0.1
    assert [told(client) for client in clients] == [0.0] * 10


def test_at_a_stop_all_are_told_in_time_however_slow_the_pace(make_site: MakeSite) -> None:
    site = make_site(drain_per_second=1)
    clients = [site.log_in(f"user{number}") for number in range(20)]
    began = time.monotonic()
    leaving.tell_all(site.front, {"tcp": ["127.0.0.1:7101"]}, 0.2)
    assert time.monotonic() - began < 2.0
    assert [told(client) for client in clients] == [0.2] * 20


def test_they_hear_where_to_go(site: Site) -> None:
    client = site.log_in()
    leaving.tell_all(site.front, {"tcp": ["127.0.0.1:7101"]})
    packet = client.read()
    assert packet is not None and packet[2]["to"] == ["127.0.0.1:7101"]


def test_who_comes_in_while_the_gateway_drains_is_told_right_after_its_welcome(site: Site) -> None:
    client = site.connect()
    leaving.tell_all(site.front, NOWHERE)
    client.send("hello", site.hello(), 1)
    site.answer("open", [77, 5])
    assert client.read_ops(2) == ["ok", "goaway"]


def test_who_is_just_coming_in_when_it_begins_to_drain_is_told_once(site: Site) -> None:
    client, go_on = site.open_unwelcomed()
    leaving.tell_all(site.front, NOWHERE)
    go_on.set()
    client.send("ping", {}, 2)
    assert client.read_ops(3) == ["ok", "goaway", "pong"]


def test_who_has_not_left_in_the_end_is_sent_off_and_may_come_back(site: Site) -> None:
    clients = [site.log_in(f"user{number}") for number in range(3)]
    until = time.monotonic() + 0.1
    leaving.wait_for_all(site.front, until)
    assert time.monotonic() >= until
    leaving.send_off(site.front)
    for client in clients:
        packet = client.read()
        assert packet is not None and packet[0] == "kick"
        assert (packet[2]["code"], packet[2]["reconnect"]) == ("drain", True)
        assert client.read() is None
    leaving.wait_for_all(site.front, time.monotonic() + 60)


def test_who_came_over_tls_is_not_sent_to_a_port_without(site: Site) -> None:
    client = site.log_in()
    connection = site.connection("ann")
    connection.sock = TlsSocket(connection.sock)  # type: ignore[attr-defined]
    leaving.tell_all(site.front, {"tcp": ["127.0.0.1:7101"], "web": ["127.0.0.1:7201"]})
    packet = client.read()
    assert packet is not None and "to" not in packet[2]


def test_waiting_polls_and_streams_hear_the_last_words(make_site: MakeSite) -> None:
    site = make_site(stop_timeout=0.0)
    polling, streaming = Session(site), Session(site, "bob")
    asking, stream = polling.waiting(), streaming.stream()
    site.gateway.stop()
    site.front.start()
    assert asking.get(timeout=5).json()["packets"][-1][2]["code"] == "drain"
    said = b""
    while more := stream.recv(65_536):
        said += more
    assert b'"code":"drain"' in said
