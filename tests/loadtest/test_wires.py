from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from websockets.frames import CloseCode, Opcode

from common.wire.codec import encode
from common.wire.http import as_json, write
from common.wire.websocket import Reader, close_frame, frame
from loadtest.wires import WIRES, Refused, Wire

FIRST = encode("hello", 1, {"v": 1}) + encode("join", 2, {"room": "plaza/a"})
LARGE = "x" * 70_000
PACKETS: list[list[Any]] = [
    ["ok", 1, {"v": 1}],
    ["message", 0, {"data": "y" * 200}],
    ["inbox", 0, {"data": LARGE}],
]
FRAMES = b"".join(encode(op, number, body) for op, number, body in PACKETS)
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
SIZES = [7, 1_000, 1_000_000]


def hear(wire: Wire, data: bytes, size: int) -> tuple[bytes, list[bytes]]:
    """Feed bytes in pieces; give the frames, and each answer that was to be written."""
    frames, answers = b"", []
    for at in range(0, len(data), size):
        more, answer = wire.take(data[at : at + size])
        frames += more
        answers += [answer] if answer else []
    return frames, answers


def answered(value: Any) -> bytes:
    return write(as_json(value), True, {})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("carrier", ["json", "msgpack"])
def test_a_websocket_says_its_first_words_behind_the_opening_and_hears_messages(
    carrier: str, size: int
) -> None:
    wire, text = WIRES[carrier](), carrier == "json"
    assert f"roost.v1.{carrier}\r\n".encode() in wire.begin(FIRST)
    said = b"".join(
        frame(Opcode.TEXT, json.dumps(one).encode()) if text else frame(Opcode.BINARY, msgpack.packb(one))
        for one in PACKETS
    )
    frames, (answer,) = hear(wire, UPGRADED + said, size)
    assert frames == FRAMES
    messages = Reader(1_000).take(answer)
    ops = [(json.loads if text else msgpack.unpackb)(one.data)[0] for one in messages]
    assert (ops, [one.text for one in messages]) == (["hello", "join"], [text, text])


REFUSED: dict[str, tuple[str, bytes]] = {
    "the opening": ("json", b"HTTP/1.1 403 Forbidden\r\n\r\n"),
    "the connection": ("json", UPGRADED + close_frame(CloseCode.GOING_AWAY)),
    "the session": ("poll", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"),
}


@pytest.mark.parametrize(("carrier", "data"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_ends_it(carrier: str, data: bytes) -> None:
    wire = WIRES[carrier]()
    wire.begin(FIRST)
    with pytest.raises(Refused):
        hear(wire, data, 1_000_000)


@pytest.mark.parametrize("size", SIZES)
def test_a_poller_posts_behind_its_welcome_and_asks_on_with_the_cursor(size: int) -> None:
    wire = WIRES["poll"]()
    assert wire.begin(FIRST).startswith(b"POST /poll/open ")
    pages = [
        {"sid": "0-a", "welcome": {"v": 1}},
        {"cursor": 0, "packets": []},
        {"cursor": 2, "packets": PACKETS[1:]},
    ]
    frames, answers = hear(wire, b"".join(map(answered, pages)), size)
    assert frames == FRAMES
    if size < 100:
        assert [one.partition(b" HTTP")[0].decode() for one in answers] == [
            "POST /poll?sid=0-a&cursor=0&n=1",
            "POST /poll?sid=0-a&cursor=0&wait=25",
            "POST /poll?sid=0-a&cursor=2&wait=25",
        ]
        assert answers[0].endswith(b'\r\n\r\n[["join", 2, {"room": "plaza/a"}]]')


@pytest.mark.parametrize("size", SIZES)
def test_events_are_read_behind_the_head_of_their_stream(size: int) -> None:
    wire = WIRES["sse"]()
    wire.begin(FIRST)
    hear(wire, answered({"sid": "0-a", "welcome": {"v": 1}}), size)
    _, (asked,) = hear(wire, answered({"cursor": 0, "packets": []}), size)
    assert asked.startswith(b"GET /sse?sid=0-a&cursor=0 ")
    events = b"".join(
        b"id: %d\ndata: %s\n\n" % (n, json.dumps(one).encode()) for n, one in enumerate(PACKETS, 1)
    )
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert hear(wire, head + b":\n\n" + events, size) == (FRAMES, [])
