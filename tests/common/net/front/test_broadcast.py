from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import BadField, Busy, RequestError
from common.net.front.box import Letter, pack_letter
from common.net.front.broadcast import WAITING
from servers.gateway import RPC
from tests.common.net.front.scene import Client, Site

BODY = pack_letter(Letter("", b"\xa2hi", 1_000, False))
MakeSite = Callable[..., Site]


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


def call(site: Site, method: str, *args: Any) -> Any:
    handler = RPC.get(method)
    assert handler is not None
    return handler(site.gateway, *args)


def broadcast(site: Site, mid: int = 7, product: str = "demo", **more: Any) -> int:
    """Broadcast as center does; more: bseq, prev, tags, rate."""
    args = (more.get("bseq", 0), more.get("prev", 0), more.get("tags", []), more.get("rate", 0))
    count: int = call(site, "broadcast", product, mid, BODY, *args)
    return count


def pings(client: Client) -> bool:
    client.send("ping", {}, 99)
    return read(client)[:2] == ("pong", 99)


def test_all_connections_of_the_product_and_nobody_else_hear_it(site: Site) -> None:
    ann, bob = site.log_in("ann"), site.log_in("bob")
    other = site.log_in("eve", product="other")
    half = site.connect()
    assert broadcast(site) == 2
    for client in (ann, bob):
        assert read(client) == ("inbox", 0, {"mid": 7, "uid": "", "time": 1_000, "data": "hi"})
    assert pings(other)
    half.send("hello", site.hello("cat"), 1)
    site.answer("open", [1_000, 5])
    assert read(half)[:2] == ("ok", 1)
    assert site.front.counters.broadcast_written == 2


TAGGED: dict[str, tuple[list[str], list[str]]] = {
    "all of them": ([], ["ann", "bob"]),
    "one tag": (["ios"], ["ann", "bob"]),
    "two tags": (["ios", "de"], ["ann"]),
    "a tag nobody has": (["vip"], []),
}


@pytest.mark.parametrize("tags, reached", TAGGED.values(), ids=TAGGED)
def test_only_connections_with_all_tags_hear_it(site: Site, tags: list[str], reached: list[str]) -> None:
    clients = {"ann": site.log_in("ann", tags=["de", "ios"]), "bob": site.log_in("bob", tags=["ios"])}
    assert broadcast(site, tags=tags) == len(reached)
    for uid, client in clients.items():
        if uid in reached:
            assert read(client)[0] == "inbox"
        assert pings(client)


def test_tags_set_later_count(site: Site) -> None:
    client = site.log_in("ann", tags=["old"])
    site.give("session-0", "tags", [site.connection().number, 999], ["vip", "new"])
    assert site.connection().tags == ("new", "vip")
    assert broadcast(site, 7, tags=["old"]) == 0
    assert broadcast(site, 8, tags=["vip"]) == 1
    assert read(client)[0] == "inbox"


def test_tags_travel_to_session_with_the_login_and_the_announcement(site: Site) -> None:
    client = site.connect()
    client.send("hello", site.hello("ann", tags=["ios", "de"]), 1)
    assert site.answer("open", [1_000, 5])[8] == ["ios", "de"]
    assert read(client)[:2] == ("ok", 1)
    site.links.take()
    site.gateway.link_up(site.process.places.session_of("demo/ann"))
    assert site.listed("announce")[0][6] == ["de", "ios"]


def test_a_kept_one_goes_into_each_stream_of_broadcasts(site: Site) -> None:
    client = site.log_in()
    assert broadcast(site, 7, bseq=3, prev=0) == 1
    op, _, body = read(client)
    assert (op, body["bseq"], body["mid"]) == ("inbox", 3, 7)
    assert broadcast(site, 8, bseq=3, prev=0) == 1
    assert pings(client), "what was sent before is not sent again"


def test_a_call_repeated_under_its_id_writes_nothing_again(site: Site) -> None:
    client = site.log_in()
    assert [broadcast(site, 7), broadcast(site, 7)] == [1, 1]
    assert read(client)[0] == "inbox"
    assert pings(client)


def test_it_keeps_to_its_rate_and_lets_others_run(make_site: MakeSite) -> None:
    site = make_site(broadcast_per_second=1_000_000)
    clients = [site.log_in(f"u{number}") for number in range(20)]
    began = time.monotonic()
    walk = gevent.spawn(broadcast, site, 7, rate=200)
    gevent.sleep(0.03)
    assert 0 < site.front.counters.broadcast_written < 20
    assert walk.get(timeout=5) == 20
    assert 0.08 <= time.monotonic() - began < 2
    assert all(read(client)[0] == "inbox" for client in clients)


def test_a_caller_that_gives_up_does_not_end_it_and_may_ask_again(site: Site) -> None:
    for number in range(6):
        site.log_in(f"u{number}")
    with gevent.Timeout(0.02, False):
        broadcast(site, 7, rate=100)
    assert site.front.counters.broadcast_written < 6
    assert broadcast(site, 7, rate=100) == 6
    assert site.front.counters.broadcasts == 1


def test_broadcasts_go_one_after_the_other_so_that_the_rate_holds_for_all(site: Site) -> None:
    clients = [site.log_in(f"u{number}") for number in range(3)]
    began = time.monotonic()
    walks = [gevent.spawn(broadcast, site, mid, rate=50) for mid in range(5)]
    assert [walk.get(timeout=5) for walk in walks] == [3] * 5
    assert time.monotonic() - began > 0.1
    for client in clients:
        assert [read(client)[2]["mid"] for _ in range(5)] == list(range(5))


def test_a_slow_broadcast_of_one_product_holds_up_no_other_products(site: Site) -> None:
    for number in range(4):
        site.log_in(f"u{number}")
    other = site.log_in("eve", product="other")
    slow = [gevent.spawn(broadcast, site, mid, rate=1) for mid in range(WAITING)]
    gevent.sleep(0)
    with pytest.raises(Busy):
        broadcast(site, 1_000)
    with gevent.Timeout(2):
        assert broadcast(site, 1_001, product="other") == 1
    assert read(other)[2]["mid"] == 1_001
    assert not any(walk.ready() for walk in slow)
    gevent.killall(slow)


def test_too_many_broadcasts_are_busy(site: Site) -> None:
    site.log_in()
    walks = [gevent.spawn(broadcast, site, mid) for mid in range(WAITING)]
    gevent.sleep(0)
    with pytest.raises(Busy):
        broadcast(site, 1_000)
    assert [walk.get(timeout=5) for walk in walks] == [1] * WAITING
    assert broadcast(site, 1_000) == 1


def test_who_leaves_meanwhile_is_passed_over(site: Site) -> None:
    for number in range(6):
        site.log_in(f"u{number}")
    walk = gevent.spawn(broadcast, site, 7, rate=100)
    gevent.sleep(0.015)
    site.connection("u5").close("lost")
    assert walk.get(timeout=5) == 5


WRONG: dict[str, dict[str, Any]] = {"tags": {"tags": ["a b"]}, "a rate": {"rate": -1}}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused(site: Site, more: dict[str, Any]) -> None:
    with pytest.raises(BadField):
        broadcast(site, **more)
    assert broadcast(site) == 0, "its id is free"


def test_a_body_that_cannot_be_read_fails_the_call_and_nothing_else(site: Site) -> None:
    with pytest.raises((ValueError, TypeError, RequestError)):
        call(site, "broadcast", "demo", 7, b"\xc1", 0, 0, [], 0)
    assert broadcast(site) == 0


def test_a_gateway_tells_how_full_it_is(make_site: MakeSite) -> None:
    site = make_site(max_connections=5)
    site.log_in()
    site.connect()
    port = site.process.places.tcp_port(0)
    expected = {"connections": 2, "limit": 5, "address": f"127.0.0.1:{port}", "state": "ready"}
    assert call(site, "load") == expected
    site.process.places.host = "0.0.0.0"
    assert call(site, "load")["address"] == ""
