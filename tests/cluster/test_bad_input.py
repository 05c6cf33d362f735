"""A stranger who sends what no client should: each thing has its answer, and the server goes on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import msgpack
import pytest

from common.wire.fields import KINDS
from common.wire.ops import CLIENT, Op
from tests.cluster.cluster import Cluster, running
from tests.cluster.raw import Packet, Raw

HELLO_TIMEOUT = 3.0
SLOW_TIMEOUT = 2.0
OUTBOX_BYTES = 65_536
PACKET_BYTES = 65_536
SERVER_PACKET_BYTES = 1_048_576
FREE = 1_000_000
SETTINGS = {
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "cluster.maps": {"plaza": 1},
    "gateway.hello_timeout": HELLO_TIMEOUT,
    "gateway.slow_timeout": SLOW_TIMEOUT,
    "gateway.outbox_bytes": OUTBOX_BYTES,
    "gateway.packets_per_second": FREE,
    "gateway.bytes_per_second": 100 * FREE,
    "gateway.publishes_per_second": FREE,
    "world.publishes_per_second": FREE,
    "world.rooms": [{"pattern": "*", "history_items": 1000, "history_bytes": 50 * FREE}],
}
ROOM = "plaza/attacked"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def pid(cluster: Cluster) -> int:
    """Give the pid of gateway-0 at the beginning."""
    return cluster.pid("gateway-0")


@pytest.fixture(autouse=True)
def the_server_goes_on(cluster: Cluster, pid: int) -> Iterator[None]:
    """After every test another client talks, through the same process."""
    yield
    with Raw(cluster.tcp(0)) as other:
        other.hello(cluster.token("other"))
        other.ok("join", {"room": "plaza/other"})
        other.ok("publish", {"room": "plaza/other", "data": "on"})
        assert other.wait_op("message")["data"] == "on"
    os.kill(pid, 0)


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Raw]:
    """A client that has logged in and joined ROOM."""
    with Raw(cluster.tcp(0)) as raw:
        raw.hello(cluster.token("stranger"))
        raw.ok("join", {"room": ROOM})
        yield raw


def framed(body: bytes) -> bytes:
    """Give a packet as it goes onto the wire."""
    return struct.pack(">I", len(body)) + body


def with_field(op: str, number: int, field: str, packed: bytes, **others: Any) -> bytes:
    """Give a framed packet with one field of hand-made msgpack."""
    head = b"\x93" + msgpack.packb(op) + msgpack.packb(number)
    fields = b"".join(msgpack.packb(key) + msgpack.packb(value) for key, value in others.items())
    return framed(head + bytes((0x80 + len(others) + 1,)) + fields + msgpack.packb(field) + packed)


def rss_of(pid: int) -> int:
    """Give the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def descriptors_of(pid: int) -> int:
    """Give how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def wait_kick(raw: Raw, code: str, come_back: bool, seconds: float = 10.0) -> None:
    """Read on until the connection is ended with this kick."""
    kick = raw.wait_op("kick", seconds)
    assert (kick["code"], kick["reconnect"]) == (code, come_back), kick
    raw.wait_end(2)


# what is no packet

DEEP = 60_000
HUGE = b"\xff\xff\xff\xff"
NOISE = random.Random(7)
PING_BODY = b"\x93\xa4ping\x01\x80"
BAD_PACKETS = {
    "random bytes": NOISE.randbytes(5_000),
    "random bytes of the length they tell": framed(b"\xc1" + NOISE.randbytes(2_000)),
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: roost\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a length of 4 GiB": HUGE,
    "a length one above the limit": struct.pack(">I", PACKET_BYTES + 1),
    "a length of zero": b"\0\0\0\0",
    "an empty frame among others": framed(b"") + framed(PING_BODY),
    "a byte msgpack never uses": framed(b"\xc1"),
    "a cut packet": framed(PING_BODY[:-1]),
    "bytes behind the packet": framed(PING_BODY + b"\x80"),
    "two packets in one frame": framed(PING_BODY + PING_BODY),
    "nil": framed(b"\xc0"),
    "a map": framed(b"\x81\xa2op\xa4ping"),
    "an array of two": framed(b"\x92\xa4ping\x01"),
    "an array of four": framed(b"\x94\xa4ping\x01\x80\x80"),
    "op: an integer": framed(b"\x93\x07\x01\x80"),
    "op: bin": framed(b"\x93\xc4\x04ping\x01\x80"),
    "op: invalid UTF-8": framed(b"\x93\xa2\xff\xfe\x01\x80"),
    "op: a lone surrogate": framed(b"\x93\xa3\xed\xa0\x80\x01\x80"),
    "op: a timestamp": framed(b"\x93\xd6\xff\0\0\0\x01\x01\x80"),
    "id: missing": framed(b"\x92\xa4ping\x80"),
    "id: nil": framed(b"\x93\xa4ping\xc0\x80"),
    "id: true": framed(b"\x93\xa4ping\xc3\x80"),
    "id: a string": framed(b"\x93\xa4ping\xa11\x80"),
    "id: a float": framed(msgpack.packb(["ping", 1.0, {}])),
    "id: NaN": framed(msgpack.packb(["ping", float("nan"), {}])),
    "id: negative": framed(msgpack.packb(["ping", -1, {}])),
    "id: 2^31": framed(msgpack.packb(["ping", 2**31, {}])),
    "id: 2^64-1": framed(msgpack.packb(["ping", 2**64 - 1, {}])),
    "body: missing": framed(b"\x92\xa4ping\x01"),
    "body: nil": framed(b"\x93\xa4ping\x01\xc0"),
    "body: an array": framed(b"\x93\xa4ping\x01\x90"),
    "body: a string": framed(b"\x93\xa4ping\x01\xa1x"),
    "body: an extension": framed(b"\x93\xa4ping\x01\xd4\x05\x00"),
    "body: integer keys": framed(b"\x93\xa4ping\x01\x81\x01\x01"),
    "body: bin keys": framed(b"\x93\xa4ping\x01\x81\xc4\x01a\x01"),
    "body: nil keys": framed(b"\x93\xa4ping\x01\x81\xc0\x01"),
    "body: an array as key": framed(b"\x93\xa4ping\x01\x81\x90\x01"),
    "body: a map as key": framed(b"\x93\xa4ping\x01\x81\x80\x01"),
    "body: an extension as key": framed(b"\x93\xa4ping\x01\x81\xd4\x05\x00\x01"),
    "body: a key of invalid UTF-8": framed(b"\x93\xa4ping\x01\x81\xa1\xff\x01"),
    "arrays 60,000 deep": framed(b"\x91" * DEEP),
    "maps 30,000 deep": framed(b"\x81\xa1a" * (DEEP // 3)),
    "deep inside a field": framed(b"\x93\xa4ping\x01\x81\xa1a" + b"\x91" * DEEP + b"\xc0"),
    "an array of 2^32-1": framed(b"\xdd" + HUGE),
    "a map of 2^32-1": framed(b"\xdf" + HUGE),
    "a string of 2^32-1": framed(b"\x93\xdb" + HUGE + b"x"),
    "bin of 2^32-1": framed(b"\x93\xc6" + HUGE + b"x"),
    "an extension of 2^32-1": framed(b"\x93\xc9" + HUGE + b"\x05x"),
    "arrays of 2^32-1, 1,000 deep": framed((b"\xdd" + HUGE) * 1_000),
    "arrays of 2^16-1, small, deep": framed(b"\xdc\xff\xff" * 300),
    "huge array inside a field": framed(b"\x93\xa4ping\x01\x81\xa1a\xdd" + HUGE),
}


@pytest.mark.parametrize("sent", BAD_PACKETS.values(), ids=BAD_PACKETS)
def test_what_is_no_packet_is_called_bad_packet_and_ends_the_connection(
    cluster: Cluster, sent: bytes
) -> None:
    for logs_in in (False, True):
        with Raw(cluster.tcp(0)) as raw:
            if logs_in:
                raw.hello(cluster.token("stranger"))
            raw.write(sent)
            op, number, body = raw.wait(lambda packet: True)
            assert (op, number) == ("error", 0)
            assert (body["code"], body["retry"]) == ("bad_packet", False)
            wait_kick(raw, "protocol", come_back=False)


def test_a_length_of_4_gib_is_refused_before_anything_of_it_is_held(cluster: Cluster, pid: int) -> None:
    before = rss_of(pid)
    held = []
    for _ in range(50):
        raw = Raw(cluster.tcp(0))
        raw.write(HUGE + bytes(100_000))
        held.append(raw)
    for raw in held:
        wait_kick(raw, "protocol", come_back=False)
        raw.close()
    assert rss_of(pid) - before < 5_000_000


def test_packets_in_front_of_a_bad_one_are_answered(client: Raw) -> None:
    client.write(framed(PING_BODY) + framed(b"\xc1"))
    assert client.wait(lambda packet: True)[:2] == ("pong", 1)
    wait_kick(client, "protocol", come_back=False)


def test_the_largest_packet_is_taken_and_one_byte_more_is_not(client: Raw) -> None:
    empty = with_field("publish", 9, "data", b"\xc5\0\0", room=ROOM)
    room = PACKET_BYTES - (len(empty) - 4)
    client.write(with_field("publish", 9, "data", b"\xc5" + struct.pack(">H", room) + bytes(room), room=ROOM))
    assert client.wait_op("message")["data"] == bytes(room)
    room += 1
    client.write(with_field("publish", 9, "data", b"\xc5" + struct.pack(">H", room) + bytes(room), room=ROOM))
    assert client.wait_op("error")["code"] == "bad_packet"
    wait_kick(client, "protocol", come_back=False)


# packets in pieces, and none at all


def test_half_a_packet_is_waited_for_and_then_answered(cluster: Cluster, client: Raw) -> None:
    packet = framed(msgpack.packb(["history", 5, {"room": ROOM}]))
    client.write(packet[:9])
    with Raw(cluster.tcp(0)) as other:
        other.hello(cluster.token("patient"))
        other.ok("join", {"room": ROOM})
    client.write(packet[9:])
    assert client.wait(lambda packet: packet[1] == 5)[0] == "ok"


def test_packets_that_come_one_byte_at_a_time_are_answered(cluster: Cluster) -> None:
    body = {"v": 1, "token": cluster.token("snail"), "device": "shell"}
    with Raw(cluster.tcp(0)) as raw:
        for byte in framed(msgpack.packb(["hello", 1, body])) + framed(PING_BODY):
            raw.write(bytes((byte,)))
        assert raw.wait_op("ok")["uid"] == "snail"
        assert raw.wait(lambda packet: True)[0] == "pong"


def test_who_does_not_log_in_in_time_is_idle_whatever_it_writes_meanwhile(cluster: Cluster) -> None:
    token = cluster.token("late")
    hello = framed(msgpack.packb(["hello", 1, {"v": 1, "token": token, "device": "late"}]))
    with Raw(cluster.tcp(0)) as silent, Raw(cluster.tcp(0)) as half, Raw(cluster.tcp(0)) as slow_loris:
        began = time.monotonic()
        half.write(hello[:-1])
        written = 0
        slow_loris.socket.settimeout(0.05)
        kicked: Packet | None = None
        while kicked is None:
            assert time.monotonic() - began < HELLO_TIMEOUT + 3
            slow_loris.write(hello[written : written + 1] if written < len(hello) - 1 else b"")
            written += 1
            try:
                kicked = slow_loris.read()
            except TimeoutError:
                continue
        assert kicked[0] == "kick" and kicked[2]["code"] == "idle"
        assert time.monotonic() - began >= HELLO_TIMEOUT - 0.2
        for raw in (silent, half):
            wait_kick(raw, "idle", come_back=True)


# what is no value


def nested(depth: int) -> bytes:
    """Give arrays within each other, as msgpack."""
    return b"\x91" * (depth - 1) + b"\x90"


BAD_DATA = {
    "NaN": msgpack.packb(float("nan")),
    "infinity": msgpack.packb(float("inf")),
    "minus infinity": msgpack.packb(float("-inf")),
    "a NaN of 32 bits": b"\xca\x7f\xc0\0\0",
    "2^53": msgpack.packb(2**53),
    "-2^53": msgpack.packb(-(2**53)),
    "2^64-1": msgpack.packb(2**64 - 1),
    "-2^63": msgpack.packb(-(2**63)),
    "an extension": b"\xd4\x05\x00",
    "an empty extension": b"\xc7\x00\x05",
    "a timestamp of 32 bits": b"\xd6\xff\0\0\0\x01",
    "a timestamp of 64 bits": b"\xd7\xff\0\0\0\0\0\0\0\x01",
    "a timestamp of 96 bits": b"\xc7\x0c\xff" + bytes(12),
    "a timestamp of a wrong size": b"\xc7\x03\xff\0\0\0",
    "invalid UTF-8": b"\xa2\xff\xfe",
    "a lone surrogate": b"\xa3\xed\xa0\x80",
    "integer keys": b"\x81\x01\x01",
    "bin keys": b"\x81\xc4\x01a\x01",
    "nil keys": b"\x81\xc0\x01",
    "an array as key": b"\x81\x90\x01",
    "a map as key": b"\x81\x80\x01",
    "a key that is a lone surrogate": b"\x81\xa3\xed\xa0\x80\x01",
    "33 deep": nested(33),
    "1,000 deep": nested(1_000),
    "NaN far inside": msgpack.packb({"a": [{"b": [1, 2, float("nan")]}]}),
    "NaN behind much": msgpack.packb([0] * 5_000 + [float("nan")]),
    "an extension behind much": b"\xdd\0\0\x13\x89" + bytes(5_000) + b"\xd4\x05\x00",
}


@pytest.mark.parametrize("packed", BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_is_no_value_is_a_bad_field_and_the_connection_goes_on(client: Raw, packed: bytes) -> None:
    client.write(with_field("publish", 7, "data", packed, room=ROOM))
    reply = client.wait(lambda packet: packet[1] == 7)
    assert (reply[0], reply[2]["code"], reply[2]["field"]) == ("error", "bad_field", "data")
    assert client.request("ping", {})[0] == "pong"


def test_data_at_its_limits_arrives_as_it_was_sent(client: Raw) -> None:
    values: list[Any] = [
        None,
        True,
        False,
        2**53 - 1,
        -(2**53) + 1,
        0.1,
        -0.0,
        1e308,
        "",
        "\0",
        "ü🦉",
        b"",
        b"\xff",
    ]
    values += [[], {}, {"": 0, "$bin": "x"}, msgpack.unpackb(nested(32)), [values[:]]]
    for value in values:
        client.ok("publish", {"room": ROOM, "data": value})
    heard = [packet[2]["data"] for packet in client.seen if packet[0] == "message"]
    while len(heard) < len(values):
        heard.append(client.wait_op("message")["data"])
    assert heard == values


# fields

NAME = "x" * 64
LONG = "x" * 10_240
GOOD: dict[str, Any] = {
    "name": "someone",
    "room": ROOM,
    "text": "text",
    "bool": True,
    "int": 1,
    "number": 1.5,
    "data": 0,
    "uids": ["someone"],
    "receivers": "someone",
    "since": {"epoch": 0, "offset": 0},
    "client": {"name": "raw", "version": "1"},
    "profile": {"city": "Bern"},
}
NO_TEXT: tuple[Any, ...] = (None, True, 1, 1.5, float("nan"), b"bytes", [], {}, ["a"])
NO_NAME = (*NO_TEXT, "", NAME + "x", LONG, "a b", "a/b", "é", "a\n", "\0")
NO_UIDS: tuple[Any, ...] = (
    None,
    True,
    1,
    1.5,
    b"bytes",
    {},
    [""],
    [1],
    [None],
    [["a"]],
    ["a b"],
    [LONG],
    ["a"] * 101,
)
NO_INT: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    1.0,
    float("inf"),
    "1",
    b"1",
    [],
    {},
    2**53,
    2**64 - 1,
    -(2**63),
)
BAD: dict[str, tuple[Any, ...]] = {
    "name": NO_NAME,
    "room": (*NO_TEXT, "", "plaza", "plaza/", "/x", "a/b/c", "plaza/a b", f"plaza/{NAME}x", f"plaza/{LONG}"),
    "text": (*NO_TEXT, "", LONG),
    "bool": (None, 0, 1, 1.0, "true", b"", [], {}),
    "int": NO_INT,
    "number": (None, True, float("nan"), float("inf"), -float("inf"), "1", b"1", [], {}, 2**64 - 1),
    "data": (float("nan"), 2**53, {"a": float("inf")}, msgpack.ExtType(5, b"x"), {b"a": 1}),
    "uids": (*NO_UIDS, "a", ""),
    "receivers": (*NO_UIDS, "", [], LONG, "a b"),
    "since": (None, True, 1, "x", b"", [], {}, {"epoch": 1}, {"offset": 1})
    + tuple({"epoch": value, "offset": 0} for value in NO_INT)
    + tuple({"epoch": 0, "offset": value} for value in NO_INT),
    "client": (
        None,
        1,
        "raw",
        [],
        {},
        {"name": "x"},
        {"name": 1, "version": 1},
        {"name": LONG, "version": ""},
    ),
    "profile": (None, 1, "x", [], {"name": ""}, {"name": 1}, {"name": None}, {"name": "a\nb"}, {"": 1})
    + ({"name": "x" * 65}, {LONG: 1}, {"a": float("nan")}, {f"f{n}": 1 for n in range(65)}),
}


def whole(op: Op) -> dict[str, Any]:
    """Give a body the op's check takes: the required fields, and the first of two joined by `or`."""
    body = {field.name: GOOD[field.kind] for field in op.fields if field.required}
    if op.one_needed:
        first = next(field for field in op.fields if field.name == op.one_of[0])
        body[first.name] = GOOD[first.kind]
    return body


def wrong_bodies(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Give (field to be named, body) for all that can be wrong with the fields of an op."""
    op = CLIENT[name]
    wrong: list[tuple[str, dict[str, Any]]] = []
    for field in op.fields:
        body = whole(op)
        if field.name in op.one_of:
            body = {key: value for key, value in body.items() if key not in op.one_of}
        wrong += [(field.name, {**body, field.name: value}) for value in BAD[field.kind]]
        if field.required:
            wrong.append((field.name, {key: value for key, value in body.items() if key != field.name}))
    if op.one_of:
        both = {field.name: GOOD[field.kind] for field in op.fields if field.name in op.one_of}
        wrong.append((op.one_of[1], {**whole(op), **both}))
    if op.one_needed:
        neither = {key: value for key, value in whole(op).items() if key not in op.one_of}
        wrong.append((op.one_of[0], neither))
    return wrong


def test_every_kind_of_field_has_good_and_bad_values_here() -> None:
    assert set(GOOD) == set(BAD) == set(KINDS)


@pytest.mark.parametrize("op", [name for name, op in CLIENT.items() if op.fields and name != "hello"])
def test_a_wrong_value_in_any_field_is_named_and_the_connection_goes_on(client: Raw, op: str) -> None:
    for field, body in wrong_bodies(op):
        error = client.error(op, body)
        assert (error["code"], error["field"], error["retry"]) == ("bad_field", field, False), body
    assert client.request("ping", {})[0] == "pong"


def test_a_hello_with_a_wrong_field_is_told_so_and_ended(cluster: Cluster) -> None:
    for field, body in wrong_bodies("hello"):
        with Raw(cluster.tcp(0)) as raw:
            error = raw.error("hello", body)
            assert (error["code"], error["field"]) == ("bad_field", field), body
            raw.wait_end(2)
            assert raw.seen[-1][0] == "error"


def test_fields_nobody_knows_are_ignored_whatever_they_hold(client: Raw) -> None:
    client.write(with_field("ping", 3, "strange", b"\xd4\x05\x00"))
    assert client.wait(lambda packet: packet[1] == 3)[0] == "pong"
    client.write(with_field("history", 4, "strange", b"\x81\x90\x01", room=ROOM))
    assert client.wait(lambda packet: packet[1] == 4)[0] == "ok"


@pytest.mark.parametrize("op", ["", "x", "HELLO", "ping ", "ok", "message", "kick", "__class__", LONG])
def test_an_op_nobody_knows_is_called_so_and_the_connection_goes_on(client: Raw, op: str) -> None:
    error = client.error(op, {})
    assert (error["code"], error["retry"]) == ("unknown_op", False)
    assert len(error["message"]) < 200
    assert client.request("ping", {})[0] == "pong"


def test_what_is_wrong_with_id_0_is_not_answered(client: Raw) -> None:
    before = len(client.seen)
    client.send("publish", {"room": ROOM}, number=0)
    client.send("strange", {}, number=0)
    client.send("publish", {"room": "plaza/elsewhere", "data": 1}, number=0)
    client.send("hello", {}, number=0)
    client.send("ping", {}, number=0)
    assert client.request("ping", {})[0] == "pong"
    assert [packet[0] for packet in client.seen[before:]] == ["pong"]


# logging in


@pytest.mark.parametrize("op", [*(name for name in CLIENT if name != "hello"), "strange", ""])
def test_anything_before_hello_is_unauthorized_and_ends_the_connection(cluster: Cluster, op: str) -> None:
    with Raw(cluster.tcp(0)) as raw:
        raw.send(op, whole(CLIENT[op]) if op in CLIENT else {})
        wait_kick(raw, "unauthorized", come_back=False)
        assert [packet[0] for packet in raw.seen] == ["kick"]


def test_a_second_hello_is_a_conflict_and_changes_nothing(cluster: Cluster, client: Raw) -> None:
    body = {"v": 1, "token": cluster.token("somebody-else"), "device": "other"}
    assert client.error("hello", body)["code"] == "conflict"
    client.ok("publish", {"room": ROOM, "data": "still me"})
    assert client.wait_op("message")["uid"] == "stranger"


def segment(value: Any) -> str:
    """Give one part of a JWT."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def by_hand(cluster: Cluster, header: Any, payload: Any, hash_name: str = "sha256") -> str:
    """Give a JWT of any content, signed with the cluster's key."""
    signed = f"{segment(header)}.{segment(payload)}"
    mac = hmac.digest(cluster.secrets.token_key.encode(), signed.encode(), hash_name)
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def bad_tokens(cluster: Cluster) -> dict[str, str]:
    """Give tokens that are worth nothing: what is wrong -> token."""
    now = int(time.time())
    good = {"sub": "eve", "product": "demo", "exp": now + 600}
    header = {"alg": "HS256", "typ": "JWT"}
    key = cluster.secrets.token_key
    changed = jwt.encode(good, key, algorithm="HS256").split(".")
    claims: dict[str, Any] = {
        "expired": {**good, "exp": now - 120},
        "expired long ago": {**good, "exp": 0},
        "without exp": {"sub": "eve", "product": "demo"},
        "with exp of text": {**good, "exp": str(now + 600)},
        "with exp of true": {**good, "exp": True},
        "with negative exp": {**good, "exp": -1},
        "with exp of 10^30": {**good, "exp": 10**30},
        "not valid yet": {**good, "nbf": now + 600},
        "without sub": {"product": "demo", "exp": now + 600},
        "with sub of a number": {**good, "sub": 1},
        "with a slash in sub": {**good, "sub": "demo/admin"},
        "with a long sub": {**good, "sub": LONG[:2000]},
        "with an empty sub": {**good, "sub": ""},
        "without product": {"sub": "eve", "exp": now + 600},
        "with a slash in product": {**good, "product": "demo/x"},
        "with too many rights": {**good, "rooms": {f"plaza/{n}.*": ["join"] for n in range(30)}},
        "with unknown rights": {**good, "rooms": {"*": ["own"]}},
        "with unknown scopes": {**good, "scopes": ["root"]},
        "with rooms of text": {**good, "rooms": "*"},
        "with 17 tags": {**good, "tags": [f"t{n}" for n in range(17)]},
    }
    return {
        "of another key": jwt.encode(good, "k" * 40, algorithm="HS256"),
        "of an empty key": f"{segment(header)}.{segment(good)}.",
        "alg none": f"{segment({'alg': 'none'})}.{segment(good)}.",
        "alg None": f"{segment({'alg': 'None'})}.{segment(good)}.",
        "alg none, signed": by_hand(cluster, {"alg": "none"}, good),
        "alg HS512": jwt.encode(good, key.ljust(64, "x"), algorithm="HS512"),
        "alg HS512, this key": by_hand(cluster, {"alg": "HS512"}, good, "sha512"),
        "alg RS256, this key": by_hand(cluster, {"alg": "RS256"}, good),
        "alg EdDSA, this key": by_hand(cluster, {"alg": "EdDSA"}, good),
        "alg of a list": by_hand(cluster, {"alg": ["HS256"]}, good),
        "no alg": by_hand(cluster, {}, good),
        "unknown kid": by_hand(cluster, {**header, "kid": "other"}, good),
        "kid of a list": by_hand(cluster, {**header, "kid": []}, good),
        "unknown crit": by_hand(cluster, {**header, "crit": ["x"]}, good),
        "header no map": by_hand(cluster, [], good),
        "payload no map": by_hand(cluster, header, [1]),
        "payload of NaN": by_hand(cluster, header, json.dumps(good)[:-1] + ', "exp": NaN}'),
        "payload 1,200 deep": by_hand(cluster, header, "[" * 1200 + "]" * 1200),
        "changed payload": ".".join((changed[0], segment({**good, "sub": "admin"}), changed[2])),
        "cut short": jwt.encode(good, key, algorithm="HS256")[:-4],
        "no JWT": "x",
        "only dots": "....",
        "not ASCII": "ü🦉." * 3,
        **{name: by_hand(cluster, header, payload) for name, payload in claims.items()},
    }


def test_tokens_that_are_worth_nothing_are_unauthorized_and_end_the_connection(cluster: Cluster) -> None:
    for name, token in bad_tokens(cluster).items():
        with Raw(cluster.tcp(0)) as raw:
            error = raw.error("hello", {"v": 1, "token": token, "device": "raw"})
            assert (error["code"], error["retry"]) == ("unauthorized", False), name
            raw.wait_end(2)
    with Raw(cluster.tcp(0)) as raw:
        raw.hello(
            by_hand(cluster, {"alg": "HS256"}, {"sub": "eve", "product": "demo", "exp": time.time() + 60})
        )


def test_a_refresh_with_a_bad_token_changes_nothing(cluster: Cluster, client: Raw) -> None:
    for name, token in bad_tokens(cluster).items():
        assert client.error("refresh", {"token": token})["code"] == "unauthorized", name
    for product, uid in (("demo", "somebody-else"), ("other", "stranger")):
        error = client.error("refresh", {"token": cluster.token(uid, product)})
        assert (error["code"], error["field"]) == ("bad_field", "token")
    client.ok("publish", {"room": ROOM, "data": "still here"})


def resumed(cluster: Cluster, resume: str, device: str) -> str:
    """Try to log in with a resume token; give the code of the error, or "ok"."""
    with Raw(cluster.tcp(0)) as raw:
        op, _number, body = raw.request("hello", {"v": 1, "resume": resume, "device": device})
        if op == "error":
            raw.wait_end(2)
        return str(body.get("code", "ok"))


def test_a_wrong_resume_token_is_unauthorized_and_never_disturbs_the_real_connection(
    cluster: Cluster,
) -> None:
    with Raw(cluster.tcp(0)) as real:
        good = real.hello(cluster.token("resumer"), device="phone")["resume"]
        fields = good.split("|")
        mac = base64.urlsafe_b64encode(hashlib.sha256(b"guess").digest()[:18]).decode()
        wrong = {
            "changed": good.replace("resumer", "Resumer"),
            "of another user": "|".join(("demo/admin", *fields[1:])),
            "living longer": "|".join((*fields[:3], "9999999999", *fields[4:])),
            "guessed mac": "|".join((*fields[:-1], mac)),
            "no mac": "|".join(fields[:-1]),
            "mac alone": fields[-1],
            "one char less": good[:-1],
            "one char more": good + "A",
            "a token of the product": cluster.token("resumer"),
            "bars": "|" * 7,
            "not ASCII": "ü" * 100,
            "long": LONG[:4000],
        }
        for name, resume in wrong.items():
            assert resumed(cluster, resume, "phone") == "unauthorized", name
        assert resumed(cluster, good, "tablet") == "unauthorized", "it is the phone's"
        assert real.request("ping", {})[0] == "pong"
        assert [packet[0] for packet in real.seen] == ["ok", "pong"]
        assert resumed(cluster, good, "phone") == "ok"
        wait_kick(real, "replaced", come_back=False)


def test_a_resume_token_is_dead_after_bye_and_at_the_end_of_its_token(cluster: Cluster) -> None:
    with Raw(cluster.tcp(0)) as raw:
        resume = raw.hello(cluster.token("leaver"), device="phone")["resume"]
        raw.send("bye", {})
        began = time.monotonic()
        raw.wait_end(2)
        assert time.monotonic() - began < 1.0
    assert resumed(cluster, resume, "phone") == "unauthorized"
    with Raw(cluster.tcp(0)) as raw:
        resume = raw.hello(cluster.token("within-skew", ttl=-30), device="phone")["resume"]
        assert resumed(cluster, resume, "phone") == "unauthorized"


# clients that do not read


def fill(publisher: Raw, count: int, size: int) -> list[int]:
    """Publish `count` messages of `size` bytes into ROOM, one after the other; give their offsets."""
    data = bytes(size)
    return [publisher.ok("publish", {"room": ROOM, "data": data})["offset"] for _ in range(count)]


def deaf(cluster: Cluster, uid: str) -> Raw:
    """Give a member of ROOM whose kernel buffers little."""
    raw = Raw(cluster.tcp(0), receive_bytes=4096)
    raw.hello(cluster.token(uid))
    raw.ok("join", {"room": ROOM})
    return raw


def test_a_client_that_pauses_gets_a_gap_and_finds_the_rest_in_the_history(cluster: Cluster) -> None:
    with deaf(cluster, "pauser") as pauser, Raw(cluster.tcp(1)) as publisher:
        publisher.hello(cluster.token("publisher"))
        publisher.ok("join", {"room": ROOM})
        offsets = fill(publisher, 120, 50_000)
        gap = pauser.wait_op("gap")
        heard = [packet[2]["offset"] for packet in pauser.seen if packet[0] == "message"]
        assert heard == offsets[: len(heard)], "in order, without a hole"
        assert len(heard) < len(offsets)
        assert (gap["room"], gap["reason"], gap["offset"]) == (ROOM, "slow", offsets[-1])
        filled: list[int] = []
        more = True
        while more:
            since = {"epoch": gap["epoch"], "offset": (heard + filled)[-1]}
            reply = pauser.ok("history", {"room": ROOM, "since": since})
            assert reply["recovered"]
            filled += [message["offset"] for message in reply["messages"]]
            more = reply["more"]
        assert heard + filled == offsets
        after = fill(publisher, 1, 10)
        assert pauser.wait_op("message")["offset"] == after[0]


def test_a_client_that_never_reads_is_kicked_as_slow_and_costs_little_memory(
    cluster: Cluster, pid: int
) -> None:
    with deaf(cluster, "deaf") as never, Raw(cluster.tcp(1)) as witness:
        witness.hello(cluster.token("witness"))
        witness.ok("join", {"room": ROOM, "presence": True})
        before = rss_of(pid)
        fill(witness, 200, 60_000)
        assert rss_of(pid) - before < 8_000_000, "12 MB were published"
        witness.wait(lambda packet: packet[0] == "left" and packet[2]["uid"] == "deaf")
        wait_kick(never, "slow", come_back=True)


def test_requests_are_not_read_on_while_their_answers_are_not(cluster: Cluster, pid: int) -> None:
    room = "plaza/thick"
    with deaf(cluster, "asker") as asker, Raw(cluster.tcp(1)) as publisher:
        publisher.hello(cluster.token("publisher"))
        publisher.ok("join", {"room": room})
        for _ in range(5):
            publisher.ok("publish", {"room": room, "data": bytes(50_000)})
        before = rss_of(pid)
        asked = 200
        requests = [framed(msgpack.packb(["history", 100 + n, {"room": room}])) for n in range(asked)]
        asker.write(b"".join(requests))
        until = time.monotonic() + SLOW_TIMEOUT / 2
        while time.monotonic() < until:
            assert publisher.request("ping", {})[0] == "pong"
            assert rss_of(pid) - before < 15_000_000, f"{asked} answers are 50 MB"
        answers = [asker.wait(lambda packet: packet[1] >= 100) for _ in range(asked)]
        assert [number for _op, number, _body in answers] == list(range(100, 100 + asked))
        assert all(op == "ok" and len(body["messages"]) == 5 for op, _number, body in answers)


def test_no_reply_is_larger_than_1_mib(cluster: Cluster) -> None:
    room, uid = "plaza/" + "r" * 64, "u" * 64
    with Raw(cluster.tcp(0)) as raw:
        raw.hello(cluster.token(uid))
        epoch = raw.ok("join", {"room": room})["epoch"]
        for size, count in ((0, 400), (900, 400), (20_000, 30), (65_000, 10)):
            for _ in range(count):
                raw.send("publish", {"room": room, "data": bytes(size)}, number=0)
            newest = raw.ok("publish", {"room": room, "data": bytes(size)})["offset"]
            since = {"epoch": epoch, "offset": newest - count}
            for op in ("history", "join"):
                packet = raw.request(op, {"room": room, "since": since})
                assert packet[2]["recovered"] and packet[2]["messages"]
                assert len(msgpack.packb(packet)) <= SERVER_PACKET_BYTES
                assert sum(len(message["data"]) for message in packet[2]["messages"]) <= 262_144
                assert packet[2]["more"] == (packet[2]["messages"][-1]["offset"] < newest)


# crowds


def test_a_thousand_half_open_logins_keep_nobody_out(cluster: Cluster, pid: int) -> None:
    held = []
    try:
        for number in range(1_000):
            raw = Raw(cluster.tcp(0))
            held.append(raw)
            if number % 2:
                raw.write(framed(PING_BODY)[:7])
        deadline = time.monotonic() + 2
        while descriptors_of(pid) < 1_000:
            assert time.monotonic() < deadline, "they are not held"
        for source in ("127.0.0.1", "127.0.0.2"):
            began = time.monotonic()
            with Raw(cluster.tcp(0), source=source) as proper:
                proper.hello(cluster.token("proper"))
                proper.ok("join", {"room": ROOM})
            assert time.monotonic() - began < 2.0
        assert descriptors_of(pid) >= 1_000
        held[998].hello(cluster.token("held"))
    finally:
        for raw in held:
            raw.close()


def test_a_storm_of_connections_leaves_nothing_behind(cluster: Cluster, pid: int) -> None:
    before = descriptors_of(pid)
    hello = framed(msgpack.packb(["hello", 1, {"v": 1, "token": cluster.token("storm"), "device": "raw"}]))
    endings = (b"", HUGE, hello[:20], hello, hello + framed(PING_BODY) * 20)
    for number in range(500):
        raw = Raw(cluster.tcp(0))
        raw.write(endings[number % len(endings)])
        if number % 2:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    deadline = time.monotonic() + 10
    while descriptors_of(pid) > before + 5:
        assert time.monotonic() < deadline, "descriptors are left"
        time.sleep(0.05)
