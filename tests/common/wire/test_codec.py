from __future__ import annotations

import os
import random
import struct
import time
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadField, BadPacket
from common.wire.codec import (
    BOMB_BYTES,
    ID_LIMIT,
    UNDECODABLE,
    Packet,
    decode,
    encode,
    inbox_frame,
    message_frame,
    pack,
    ping_reply,
    unpack,
)
from common.wire.framing import CLIENT_LIMIT, SERVER_LIMIT, frame
from common.wire.values import check_data
from tests.common.wire.feeding import feed
from tests.common.wire.test_values import VALUES

TEXT = st.text(max_size=20)
IDS = st.integers(0, ID_LIMIT)
HEAD = b"\x93\xa1a\x01"
"""["a", 1, …: the body follows."""
FIELD = HEAD + b"\x81\xa4data"
"""["a", 1, {"data": …: the value follows."""


def one(stream: bytes) -> bytes:
    (body,), rest = feed(stream, SERVER_LIMIT)
    assert rest == b""
    return body


@given(TEXT, IDS, st.dictionaries(TEXT, VALUES, max_size=5))
def test_a_packet_comes_back_as_it_was_sent(op: str, number: int, body: dict[str, Any]) -> None:
    assert decode(one(encode(op, number, body))) == Packet(op, number, body)


@given(VALUES)
def test_data_comes_back_as_it_was_packed(value: Any) -> None:
    assert unpack(pack(value)) == value


def test_packing_goes_on_after_a_value_it_refused() -> None:
    with pytest.raises(TypeError):
        pack([1, 2, object()])
    assert pack([1]) == b"\x91\x01"


@given(st.binary(max_size=200))
def test_random_bytes_are_a_packet_or_a_bad_packet(body: bytes) -> None:
    try:
        packet = decode(body)
    except BadPacket:
        return
    assert type(packet.op) is str and 0 <= packet.id <= ID_LIMIT and all(type(k) is str for k in packet.body)


def test_many_random_bytes_are_a_bad_packet() -> None:
    with pytest.raises(BadPacket):
        decode(b"\x93" + random.Random(1).randbytes(60_000))


BAD_PACKETS: dict[str, bytes] = {
    "nothing": b"",
    "reserved byte": b"\xc1",
    "reserved byte inside a field": FIELD + b"\xc1",
    "number": b"\x07",
    "map": msgpack.packb({"op": "a"}),
    "array of two": msgpack.packb(["a", 1]),
    "array of four": msgpack.packb(["a", 1, {}, 0]),
    "op is a number": msgpack.packb([1, 1, {}]),
    "op is bin": msgpack.packb([b"a", 1, {}]),
    "op is invalid UTF-8": b"\x93\xa1\xff\x01\x80",
    "op is a map with number keys": msgpack.packb([{1: 2}, 1, {}]),
    "id is a string": msgpack.packb(["a", "1", {}]),
    "id is true": msgpack.packb(["a", True, {}]),
    "id is a float": msgpack.packb(["a", 1.0, {}]),
    "id is null": msgpack.packb(["a", None, {}]),
    "id is negative": msgpack.packb(["a", -1, {}]),
    "id is 2^31": msgpack.packb(["a", 2**31, {}]),
    "id is 2^64-1": msgpack.packb(["a", 2**64 - 1, {}]),
    "id is an extension": msgpack.packb(["a", msgpack.ExtType(5, b""), {}]),
    "body is null": msgpack.packb(["a", 1, None]),
    "body is an array": msgpack.packb(["a", 1, []]),
    "body has a number as key": msgpack.packb(["a", 1, {1: 2}]),
    "body has bin as key": msgpack.packb(["a", 1, {b"a": 2}]),
    "body has an array as key": HEAD + b"\x81\x91\x01\x02",
    "body has invalid UTF-8 as key": HEAD + b"\x81\xa1\xff\x02",
    "array of two with a bad value": b"\x92\xa1a\xa1\xff",
    "array of four with a bad value": b"\x94\xa1a\x01\x80\xa1\xff",
    "body is an array with a bad value": HEAD + b"\x91\xa1\xff",
    "invalid UTF-8 alone": b"\xa1\xff",
    "bytes after the packet": msgpack.packb(["a", 1, {}]) + b"\x00",
    "bytes after a packet with a bad field": FIELD + b"\xa1\xff" + b"\x00",
    "a second packet": msgpack.packb(["a", 1, {}]) * 2,
    "cut short": msgpack.packb(["a", 1, {"data": "abc"}])[:-1],
    "announces 2^32-1 elements": FIELD + b"\xdd\xff\xff\xff\xff",
    "announces 2^32-1 pairs": FIELD + b"\xdf\xff\xff\xff\xff",
    "announces 4 GiB of text": FIELD + b"\xdb\xff\xff\xff\xff",
    "announces 4 GiB of bin": FIELD + b"\xc6\xff\xff\xff\xff",
    "packet of 2^32-1 elements": b"\xdd\xff\xff\xff\xff",
    "body of 2^32-1 pairs": HEAD + b"\xdf\xff\xff\xff\xff",
    "60,000 deep": FIELD + b"\x91" * 60_000 + b"\x00",
    "60,000 maps deep": FIELD + b"\x81\xa0" * 30_000 + b"\x00",
    "trailing bytes behind a large packet": msgpack.packb(["a", 1, {"data": b"x" * 2000}]) + b"\x00",
}


@pytest.mark.parametrize("body", BAD_PACKETS.values(), ids=BAD_PACKETS.keys())
def test_what_is_no_packet_is_refused(body: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(one(frame(body)) if body else body)


BAD_FIELDS: dict[str, bytes] = {
    "extension": b"\xd4\x05x",
    "extension of no bytes": b"\xc7\x00\x05",
    "timestamp": b"\xd6\xff\x00\x00\x00\x01",
    "timestamp of a wrong size": b"\xc7\x05\xff12345",
    "timestamp with too many nanoseconds": b"\xd7\xff" + b"\xff" * 8,
    "invalid UTF-8": b"\xa1\xff",
    "lone surrogate": b"\xa3\xed\xa0\x80",
    "number as key": b"\x81\x01\x02",
    "null as key": b"\x81\xc0\x02",
    "array as key": b"\x81\x91\x01\x02",
    "map as key": b"\x81\x80\x02",
    "bin as key": b"\x81\xc4\x01a\x02",
    "invalid UTF-8 as key": b"\x81\xa1\xff\x02",
    "2^63": b"\xcf\x80" + b"\x00" * 7,
    "2^53": b"\xcf\x00\x20" + b"\x00" * 6,
    "-2^63": b"\xd3\x80" + b"\x00" * 7,
    "NaN": b"\xcb\x7f\xf8" + b"\x00" * 6,
    "infinity": b"\xca\x7f\x80\x00\x00",
    "33 deep": b"\x91" * 33 + b"\x00",
    "1,000 deep": b"\x91" * 1000 + b"\x00",
}


@pytest.mark.parametrize("wrap", [b"", b"\x92\x00", b"\x81\xa1a"], ids=["bare", "array", "map"])
@pytest.mark.parametrize("value", BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
def test_a_bad_value_inside_a_field_is_left_to_the_check_of_the_field(value: bytes, wrap: bytes) -> None:
    packet = decode(one(frame(HEAD + b"\x82\xa4data" + wrap + value + b"\xa4room\xa3a/b")))
    assert packet[:2] == ("a", 1)
    assert packet.body["room"] == "a/b"
    with pytest.raises(BadField):
        check_data(packet.body["data"])


def test_each_undecodable_field_of_a_large_packet_is_marked_by_itself() -> None:
    body = HEAD + b"\x83\xa1x\xa1\xff" + b"\xa1y" + msgpack.packb(b"b" * 3000) + b"\xa1z\x81\x01\x02"
    assert decode(body).body == {"x": UNDECODABLE, "y": b"b" * 3000, "z": UNDECODABLE}


def test_an_undecodable_field_is_refused_as_data() -> None:
    with pytest.raises(BadField):
        check_data(UNDECODABLE)


@pytest.mark.parametrize("head", [b"\xdd\x00\x00\xfd\xe8", b"\xdc\xfd\xe8", b"\xde\xfd\xe8\xa0"])
def test_arrays_that_announce_much_at_every_level_cost_no_time(head: bytes) -> None:
    bomb = (FIELD + head * 1000).ljust(CLIENT_LIMIT, b"\x00")
    started = time.process_time()
    with pytest.raises(BadPacket):
        decode(bomb)
    assert time.process_time() - started < 0.02


def test_the_largest_honest_array_passes() -> None:
    body = msgpack.packb(["a", 1, {"data": [None] * 65_000}])
    assert len(decode(body).body["data"]) == 65_000


def test_bodies_of_either_size_are_decoded_alike() -> None:
    for size in (0, BOMB_BYTES - 20, BOMB_BYTES, BOMB_BYTES + 20):
        data = os.urandom(size)
        assert decode(msgpack.packb(["a", 1, {"data": data}])).body == {"data": data}


@given(TEXT, st.integers(0, 2**53 - 1), TEXT, VALUES, st.integers(0, 2**53 - 1))
def test_a_message_frame_is_the_packet_with_its_data_spliced_in(
    room: str, offset: int, uid: str, data: Any, time: int
) -> None:
    packet = decode(one(message_frame(room, offset, uid, pack(data), time)))
    assert packet == Packet(
        "message", 0, {"room": room, "offset": offset, "uid": uid, "data": data, "time": time}
    )


POSITIONS: dict[str, dict[str, Any]] = {
    "neither": {},
    "seq": {"seq": 5},
    "bseq": {"bseq": 2**50},
    "gap": {"seq": 0, "gap": True},
}


@pytest.mark.parametrize("position", POSITIONS.values(), ids=POSITIONS.keys())
@given(VALUES)
def test_an_inbox_frame_has_the_position_it_was_given(position: dict[str, Any], data: Any) -> None:
    packet = decode(one(inbox_frame(7, "alice", pack(data), 9, **position)))
    assert packet == Packet("inbox", 0, {"mid": 7, "uid": "alice", "data": data, "time": 9, **position})


@pytest.mark.parametrize("number", [1, 127, 128, 255, 256, 65_535, 65_536, ID_LIMIT])
def test_a_ping_is_answered_with_its_id(number: int) -> None:
    reply = ping_reply(one(encode("ping", number, {})))
    assert reply is not None
    assert decode(one(reply)) == Packet("pong", number, {})


@pytest.mark.parametrize("number", [b"\x00", b"\xcc\x00"])
def test_a_ping_with_id_0_wants_no_answer(number: bytes) -> None:
    body = b"\x93\xa4ping" + number + b"\x80"
    assert not ping_reply(body)
    assert decode(body) == Packet("ping", 0, {})


NO_PLAIN_PING: dict[str, bytes] = {
    "nothing": b"",
    "another op": msgpack.packb(["join", 1, {}]),
    "longer op": msgpack.packb(["pings", 1, {}]),
    "with a field": msgpack.packb(["ping", 1, {"a": 1}]),
    "prefix alone": b"\x93\xa4ping",
    "no id": b"\x93\xa4ping\x80",
    "empty map in a long form": b"\x93\xa4ping\x01\xde\x00\x00",
    "id in a long form": b"\x93\xa4ping\xcf" + struct.pack(">Q", 1) + b"\x80",
    "id is 2^31": b"\x93\xa4ping\xce\x80\x00\x00\x00\x80",
    "id is 0 in a long form": b"\x93\xa4ping\xce\x00\x00\x00\x00\x80",
    "id is -1": b"\x93\xa4ping\xff\x80",
    "id is null": b"\x93\xa4ping\xc0\x80",
    "id is a string": b"\x93\xa4ping\xa1a\x80",
    "id is an int16": b"\x93\xa4ping\xd1\x00\x01\x80",
    "body is a number": b"\x93\xa4ping\x01\x02",
    "two packets": msgpack.packb(["ping", 1, {}]) * 2,
}


@pytest.mark.parametrize("body", NO_PLAIN_PING.values(), ids=NO_PLAIN_PING.keys())
def test_anything_but_a_plain_ping_is_left_to_the_ordinary_way(body: bytes) -> None:
    assert ping_reply(body) is None


@given(st.binary(max_size=12))
def test_whatever_follows_the_prefix_of_a_ping_raises_nothing(tail: bytes) -> None:
    body = b"\x93\xa4ping" + tail
    reply = ping_reply(body)
    if reply:
        assert decode(reply[4:]) == Packet("pong", decode(body).id, {})
