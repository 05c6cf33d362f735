"""A flock as a process, against gateways of a few lines."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from common.wire.codec import encode, message_frame, pack
from loadtest.bench.commands import Commanded
from loadtest.flock.packets import IN_ROOM, stamp
from tests.loadtest.flock.scripted import Scripted
from tests.waiting import until

COUNT = 5
KEY = "k" * 43
Start = Callable[..., Commanded]


@pytest.fixture
def gateway() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture
def start(gateway: Scripted) -> Iterator[Start]:
    """Start a flock whose clients are all there."""
    with ExitStack() as stack:

        def begin(**more: Any) -> Commanded:
            plan = {"port": gateway.port, "count": COUNT, "rooms": 1, "token_key": KEY, "resumes": 1} | more
            flock = stack.enter_context(Commanded("loadtest.flock", plan))
            flock.order("begin")
            until(lambda: flock.order("report")["here"] == COUNT, 10.0)
            return flock

        yield begin


def counts(flock: Commanded) -> dict[str, int]:
    known: dict[str, int] = flock.order("report")["counts"]
    return known


def said(offset: int) -> bytes:
    return message_frame("plaza/bench.0", offset, "", pack(stamp(IN_ROOM, 0, 1)), 1)


def test_each_client_logs_in_as_somebody_else_and_joins_behind_it(gateway: Scripted, start: Start) -> None:
    start(first=40)
    assert sorted(packet.body["device"] for packet in gateway.heard if packet.op == "hello") == [
        f"d{number}" for number in range(40, 45)
    ]
    assert len({packet.body["token"] for packet in gateway.heard if packet.op == "hello"}) == COUNT
    assert [packet.body["room"] for packet in gateway.heard if packet.op == "join"] == [
        "plaza/bench.0"
    ] * COUNT
    assert {sock.getpeername()[0] for sock in gateway.socks} == {"127.1.0.1"}


def test_what_all_hear_is_counted_for_each(gateway: Scripted, start: Start) -> None:
    flock = start()
    gateway.say(said(1) + said(2))
    gateway.say(said(4))
    until(lambda: counts(flock)["messages"] == 3 * COUNT)
    assert counts(flock)["missing"] == COUNT


def test_every_client_is_pinged_and_its_answer_counted(start: Start) -> None:
    flock = start(ping_every=0.2)
    until(lambda: counts(flock)["pongs"] >= 2 * COUNT)
    assert flock.order("alive", seconds=0.5)["told"] == COUNT
    assert flock.order("alive", seconds=0.0)["told"] == 0


def test_who_is_lost_comes_back_by_resume_to_where_it_was(gateway: Scripted, start: Start) -> None:
    flock = start()
    gateway.say(said(1))
    until(lambda: counts(flock)["messages"] == COUNT)
    gateway.heard.clear()
    gateway.hang_up()
    until(lambda: counts(flock).get("reconnects") == COUNT)
    report = flock.order("report")
    assert (report["counts"]["closed"], report["errors"]) == (COUNT, {"closed by the server": COUNT})
    assert {packet.body.get("resume") for packet in gateway.heard if packet.op == "hello"} == {
        f"resume of d{number}" for number in range(COUNT)
    }
    since = [packet.body["since"] for packet in gateway.heard if packet.op == "join"]
    assert since == [{"epoch": 7, "offset": 1}] * COUNT


def test_a_storm_is_nobodys_loss(start: Start) -> None:
    flock = start()
    assert flock.order("storm", share=0.4)["told"] == 2
    until(lambda: counts(flock).get("reconnects") == 2)
    assert "closed" not in counts(flock)


def test_losses_at_a_gateway_that_is_to_die_are_not_held_against_anybody(
    gateway: Scripted, start: Start
) -> None:
    flock = start()
    assert flock.order("expect_death", port=gateway.port)["told"] == COUNT
    gateway.hang_up()
    until(lambda: counts(flock).get("killed") == COUNT)
    assert "closed" not in counts(flock)


def test_who_is_refused_goes_to_another_gateway(gateway: Scripted, start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    flock = start(port=nobody, others=[gateway.port] * 7)
    assert counts(flock)["refused"] >= COUNT
    assert flock.order("report")["errors"] == {}


def test_a_kick_ends_the_connection_and_is_told_in_its_words(gateway: Scripted, start: Start) -> None:
    flock = start()
    gateway.say(encode("kick", 0, {"code": "slow", "reason": "does not read", "reconnect": True}))
    until(lambda: counts(flock).get("closed") == COUNT)
    assert flock.order("report")["errors"] == {"kick slow: does not read": COUNT}


def test_it_publishes_at_its_rate_with_the_time_in_it(gateway: Scripted, start: Start) -> None:
    flock = start()
    flock.order("publish", rate=100.0, bytes=3)
    until(lambda: sum(packet.op == "publish" for packet in gateway.heard) == COUNT)
    flock.order("publish", rate=0)
    body = next(packet.body for packet in gateway.heard if packet.op == "publish")
    mark, kind, number, sent, padding = body["data"]
    assert (mark, kind, number, padding) == ("roost", IN_ROOM, 0, "xxx")
    assert abs(sent / 1e6 - time.time()) < 60
    assert counts(flock)["publishes"] == COUNT  # each client waits for its answer


def test_an_echo_ends_with_its_drill() -> None:
    with Commanded("loadtest.bench.bare", {"count": COUNT, "echo": True}) as bare:
        plan = {"port": bare.answer()["port"], "count": COUNT, "raw": True}
        with Commanded("loadtest.flock", plan) as flock:
            flock.order("login")
            assert flock.order("echo", seconds=0.05)["trips"] >= COUNT
            reads = flock.order("report")["reads"]
            flock.order("rest", seconds=0.05)
            assert flock.order("report")["reads"] == reads
