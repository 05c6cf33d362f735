"""Bytes <-> packets."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost_client.codec import LARGEST_IN, LARGEST_OUT, Decoder, Packet, encode
from roost_client.errors import PacketTooLarge, ProtocolError

PACKETS: list[Packet] = [
    ("ok", 7, {"epoch": 1, "offset": 2}),
    ("message", 0, {"room": "plaza/lobby", "data": {"a": [1, None, b"x", "ü"]}}),
    ("pong", 2**31 - 1, {}),
]
WIRE = b"".join(encode(*packet) for packet in PACKETS)


def feed(data: bytes, step: int) -> list[Packet]:
    """Give all packets of `data` fed in pieces of `step` bytes."""
    decoder = Decoder()
    return [
        packet
        for start in range(0, len(data), step)
        for packet in decoder.receive_data(data[start : start + step])
    ]


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_packets_come_out_of_one_chunk_in_order() -> None:
    assert feed(WIRE, len(WIRE)) == PACKETS


def test_packets_come_out_byte_by_byte() -> None:
    assert feed(WIRE, 1) == PACKETS


def test_a_tail_waits_for_its_rest() -> None:
    decoder = Decoder()
    assert decoder.receive_data(WIRE + WIRE[:9]) == PACKETS
    assert decoder.receive_data(b"") == []
    assert decoder.receive_data(WIRE[9:]) == PACKETS


@given(st.lists(st.integers(1, 60)))
def test_any_cut_gives_the_same_packets(cuts: list[int]) -> None:
    decoder, found, rest = Decoder(), [], WIRE
    for cut in cuts:
        found += decoder.receive_data(rest[:cut])
        rest = rest[cut:]
    assert found + decoder.receive_data(rest) == PACKETS


def test_a_length_above_the_limit_is_refused_before_the_body() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        Decoder().receive_data(struct.pack(">I", LARGEST_IN + 1))


BAD: dict[str, bytes] = {
    "not_msgpack": b"\xc1",
    "empty": b"",
    "two_values": msgpack.packb(["ok", 1, {}]) + b"\x00",
    "truncated": msgpack.packb(["ok", 1, {}])[:-1],
    "a_map": msgpack.packb({"op": "ok"}),
    "two_items": msgpack.packb(["ok", 1]),
    "number_for_op": msgpack.packb([1, 1, {}]),
    "list_for_body": msgpack.packb(["ok", 1, []]),
    "number_key": msgpack.packb(["ok", 1, {1: 2}]),
    "invalid_utf8": msgpack.packb(["ok", 1, {"a": "x"}]).replace(b"x", b"\xff"),
    "deeply_nested": b"\x91" * 5000,
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_what_is_no_packet_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().receive_data(framed(body))


def test_a_packet_the_server_would_refuse_is_refused_here() -> None:
    with pytest.raises(PacketTooLarge) as caught:
        encode("publish", 1, {"data": b"x" * LARGEST_OUT})
    assert caught.value.facts["limit"] == LARGEST_OUT


UNPACKABLE: dict[str, Any] = {"object": object(), "huge_int": 2**70}


@pytest.mark.parametrize("value", UNPACKABLE.values(), ids=UNPACKABLE.keys())
def test_a_value_without_a_form_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, OverflowError)):
        encode("publish", 1, {"data": value})
