"""The load client at a server that does wrong: all of that is in its figures, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from loadtest.bench.commands import Commanded
from tests.loadtest.peers.scripted import Rule, Scripted

Start = Callable[[Rule], Commanded]
SUBSCRIBERS, WINDOW = 4, 8


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a scripted server and a client at it, whose four subscribers are in."""
    with ExitStack() as stack:

        def begin(rule: Rule) -> Commanded:
            server = Scripted(rule)
            stack.callback(server.close)
            plan = {
                "peer": "nats",
                "port": server.port,
                "pids": {},
                "topics": 1,
                "window": WINDOW,
                "quiet": 0.2,
            }
            client = stack.enter_context(
                Commanded("loadtest.peers.client", plan | {"subscribers": SUBSCRIBERS})
            )
            client.order("enter")
            return client

        yield begin


def saturate(client: Commanded) -> dict[str, Any]:
    return client.order("saturate", seconds=0.3, warm_up=0.05)


def test_at_a_server_without_fault_all_are_heard_and_the_window_keeps_going(start: Start) -> None:
    told = saturate(start(lambda subscriber, number: 1))
    assert (told["lost"], told["repeats"], told["misordered"], told["errors"]) == (0, 0, 0, {})
    assert told["published"] > 2 * WINDOW
    assert told["deliveries"] > 0


def test_what_a_subscriber_does_not_get_is_lost_and_does_not_stop_the_others(start: Start) -> None:
    told = saturate(start(lambda subscriber, number: 0 if subscriber == 2 and number % 5 == 0 else 1))
    assert told["lost"] == told["published"] // 5
    assert told["published"] > 2 * WINDOW


def test_what_comes_twice_is_a_repeat_and_no_delivery(start: Start) -> None:
    client = start(lambda subscriber, number: 2 if subscriber == 1 else 1)
    told = client.order("steady", rate=400, seconds=0.3, warm_up=0.0)
    assert told["lost"] == 0
    assert told["repeats"] == told["published"]
    assert told["times"]["count"] == told["published"] * SUBSCRIBERS


def test_a_subscriber_that_is_hung_up_on_loses_all_that_follows(start: Start) -> None:
    told = saturate(start(lambda subscriber, number: -1 if subscriber == 3 and number == 11 else 1))
    assert told["errors"] == {"closed by the server": 1}
    assert told["lost"] >= told["published"] - 11
    assert told["published"] > 2 * WINDOW


def test_a_server_that_swallows_all_is_asked_again_and_everything_is_lost(start: Start) -> None:
    told = saturate(start(lambda subscriber, number: 0))
    assert told["deliveries"] == 0
    assert told["published"] > WINDOW
    assert told["lost"] == told["published"] * SUBSCRIBERS


def test_a_server_that_does_not_keep_up_is_late_from_when_messages_were_due(start: Start) -> None:
    client = start(lambda subscriber, number: 1)
    told = client.order("steady", rate=4_000_000, seconds=0.2, warm_up=0.0)
    assert told["deliveries"] / told["seconds"] < 2_000_000
    assert told["late"]["max"] > 50
    assert told["times"]["max"] > 50


def test_a_port_nobody_listens_at_is_said() -> None:
    plan = {"peer": "nats", "port": 1, "pids": {}, "topics": 1, "subscribers": 1}
    with Commanded("loadtest.peers.client", plan) as client, pytest.raises(RuntimeError, match="refused"):
        client.order("enter")
