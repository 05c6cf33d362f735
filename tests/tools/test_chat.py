from __future__ import annotations

import os
import time
from typing import Any, cast

import pytest

from common.errors import ConfigError
from common.places import Places
from common.settings import load
from common.wire.tickets import read_ticket
from roost_client import (
    Client,
    ClientClosed,
    Event,
    Gap,
    Kicked,
    Left,
    Message,
    Missed,
    StateChanged,
    Timeout,
)
from tools import chat
from tools.main import main

LINES: dict[str, tuple[Event, str | None]] = {
    "a message": (Message("plaza/a", 1, 1, "bob", "hello", 0), "bob: hello"),
    "one of the server": (Message("plaza/a", 1, 1, "", "hello", 0), "server: hello"),
    "data": (Message("plaza/a", 1, 1, "bob", {"x": [1, None]}, 0), 'bob: {"x": [1, null]}'),
    "bytes": (Message("plaza/a", 1, 1, "bob", {"x": b"\x01"}, 0), 'bob: {"x": "b\'\\\\x01\'"}'),
    "a message that would steer the terminal": (
        Message("plaza/a", 1, 1, "eve", "\x1b[2J\r\n*", 0),
        "eve: \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}*",
    ),
    "who left": (Left("plaza/a", "bob", 3), "* bob left, 3 here"),
    "a gap that is filled": (Gap("plaza/a", 1, 5, "slow"), None),
    "a new beginning": (Gap("plaza/a", 2, 0, "epoch"), "* the room began anew"),
    "what is gone": (Missed("plaza/a", 1, 3, 5), "* messages 3 to 5 are gone"),
    "a lost connection": (StateChanged("recovering"), "* connection lost, coming back"),
    "the end": (StateChanged("closed"), None),
}


@pytest.mark.parametrize("case", LINES)
def test_each_event_has_its_line(case: str) -> None:
    event, line = LINES[case]
    assert chat.line_of(event) == line


def test_the_shared_port_is_used_unless_a_gateway_is_named() -> None:
    places = Places(load({"ROOST_PORT": "9000"}))
    assert chat.address(places, "127.0.0.1", None) == "127.0.0.1:9000"
    assert chat.address(places, "0.0.0.0", 1) == "127.0.0.1:9101"


def test_a_ticket_made_for_a_gateways_address_is_good_there() -> None:
    made = chat.tickets(load({"ROOST_PORT": "9000"}), "s" * 32, "demo/ann")
    assert list(made) == ["127.0.0.1:9100", "127.0.0.1:9101"]
    one, other = made["127.0.0.1:9101"](), made["127.0.0.1:9101"]()
    assert read_ticket(b"s" * 32, one, "demo/ann", "gateway-1", time.time()).nonce not in other


@pytest.mark.parametrize("index", [-1, 2])
def test_a_gateway_that_is_not_configured_is_refused(index: int) -> None:
    with pytest.raises(ConfigError, match="there are 0 to 1"):
        chat.address(Places(load({})), "127.0.0.1", index)


def test_lines_are_cut_wherever_reads_end() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb", buffering=0) as typed:
        typed.write(b"one\ntw")
        lines = chat._typed(reading)
        assert next(lines) == "one"
        typed.write("o\nümlaut".encode())
        typed.close()
        assert list(lines) == ["two", "ümlaut"]


class FakeClient:
    def __init__(self, failures: dict[str, Exception]) -> None:
        self.failures = failures
        self.published: list[str] = []
        self.closed = False

    def publish_surely(self, room: str, data: Any, timeout: float) -> None:
        if data in self.failures:
            raise self.failures[data]
        self.published.append(data)

    def close(self) -> None:
        self.closed = True


def test_lines_are_published_in_order_then_the_client_leaves() -> None:
    client = FakeClient({})
    chat._publish_all(cast(Client, client), "plaza/a", ["one", "", "  ", "two"])
    assert (client.published, client.closed) == (["one", "two"], True)


def test_a_line_that_failed_is_said_and_the_next_one_tried(capsys: pytest.CaptureFixture[str]) -> None:
    client = FakeClient({"one": Timeout("no answer")})
    chat._publish_all(cast(Client, client), "plaza/a", ["one", "two"])
    assert client.published == ["two"]
    assert capsys.readouterr().out == "* not sent: 'one': no answer\n"


def test_publishing_ends_with_the_client() -> None:
    client = FakeClient({"one": ClientClosed("banned", "")})
    chat._publish_all(cast(Client, client), "plaza/a", ["one", "two"])
    assert client.published == []


def test_the_code_tells_whether_the_server_ended_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert chat._print_all([Kicked("slow", "too slow", True)]) == 0
    assert chat._print_all([Kicked("banned", "go", False)]) == 1
    assert capsys.readouterr().out == "* slow: too slow\n* banned: go\n"


def test_a_name_that_is_no_room_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "lobby", "--as", "alice"]) == 2
    assert "rooms are map/name" in capsys.readouterr().err


def test_only_a_connection_that_was_lost_is_connected_again(capsys: pytest.CaptureFixture[str]) -> None:
    states = ["live", "recovering", "connecting", "offline", "connecting", "live", "live", "closed"]
    chat._print_all([StateChanged(state) for state in states])
    assert capsys.readouterr().out.splitlines() == [
        "* connection lost, coming back",
        "* still trying",
        "* connected again",
    ]
