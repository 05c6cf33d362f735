from __future__ import annotations

from typing import Any

import msgpack
import pytest

from loadtest.soak.device import Device, Line, packet

PACKETS: list[tuple[str, int, dict[str, Any]]] = [
    ("ok", 1, {"v": 1}),
    ("message", 0, {"room": "plaza/a", "offset": 7}),
    ("pong", 2, {}),
]


def device() -> Device:
    return Device(3, "u1", "d1", ["plaza/a", "plaza/b"], False)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_packets_come_whole_however_they_are_cut(size: int) -> None:
    line = Line(device(), 0, None, 0.0)
    stream = b"".join(packet(*one) for one in PACKETS) + packet("tail", 0, {})[:-1]
    found = [tuple(one) for at in range(0, len(stream), size) for one in line.take(stream[at : at + size])]
    assert found == PACKETS


def test_requests_are_numbered_and_remembered_until_answered() -> None:
    line = Line(device(), 0, None, 0.0)
    first, second = (line.request("ping", {}, now) for now in (1.0, 2.0))
    assert [msgpack.unpackb(data[4:])[1] for data in (first, second)] == [1, 2]
    assert line.pending == {1: ("ping", 1.0), 2: ("ping", 2.0)}


def test_a_join_recovers_from_what_was_heard_last() -> None:
    one = device()
    assert "since" not in one.join("plaza/a", True)
    one.heard("ok", {"room": "plaza/a", "epoch": 9, "offset": 4})
    one.heard("message", {"room": "plaza/a", "offset": 5})
    one.heard("message", {"room": "plaza/visited", "offset": 50})
    assert one.join("plaza/a", True)["since"] == {"epoch": 9, "offset": 5}
    assert "since" not in one.join("plaza/a", False)


def test_a_hello_is_by_resume_token_unless_one_is_given() -> None:
    one = device()
    one.resume = "r"
    assert one.hello("") == {"v": 1, "device": "d1", "kind": "phone", "resume": "r"}
    assert one.hello("t") == {"v": 1, "device": "d1", "kind": "phone", "token": "t"}
