"""What each server writes, as it is on the wire, and what the load client makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from common.wire.codec import encode, message_frame, pack
from loadtest.peers.mosquitto import packet, text
from loadtest.peers.peer import DIGITS, Frame, payload
from loadtest.peers.table import PEERS

ONE, TWO = payload(1, 100), payload(1_234_567_890, 300)


def room_message(offset: int, words: bytes) -> bytes:
    return message_frame("plaza/rooms.0", offset, "u0", pack(words.decode()), 1_700_000_000_000)


STREAMS: dict[str, list[tuple[bytes, dict[str, Any]]]] = {
    "roost": [
        (room_message(1, ONE), {"number": 1}),
        (encode("pong", 4, {}), {}),
        (room_message(2, TWO), {"number": 1_234_567_890}),
        (encode("error", 0, {"code": "busy"}), {"refusal": "error {'code': 'busy'}"}),
    ],
    "nats": [
        (b"MSG rooms.0 1 100\r\n%s\r\n" % ONE, {"number": 1}),
        (b"PING\r\n", {"answer": b"PONG\r\n"}),
        (b"MSG rooms.0 1 300\r\n%s\r\n" % TWO, {"number": 1_234_567_890}),
        (b"+OK\r\n", {}),
        (b"-ERR 'Stale Connection'\r\n", {"refusal": "-ERR 'Stale Connection'"}),
    ],
    "mosquitto": [
        (b"\x30\x6d\x00\x07rooms.0" + ONE, {"number": 1}),
        (b"\xd0\x00", {}),
        (b"\x30\xb5\x02\x00\x07rooms.0" + TWO, {"number": 1_234_567_890}),
    ],
    "nchan": [
        (b"\x81\x64" + ONE, {"number": 1}),
        (b"\x89\x02hi", {"answer": b"\x8a\x82\x00\x00\x00\x00hi"}),
        (b"\x81\x7e\x01\x2c" + TWO, {"number": 1_234_567_890}),
        (b"\x88\x02\x03\xe8", {"refusal": "close 1000"}),
    ],
    "websockets": [
        (b"\x81\x64" + ONE, {"number": 1}),
        (b"\x81\x7e\x01\x2c" + TWO, {"number": 1_234_567_890}),
    ],
    "socketio": [
        (b'\x81\x6e42["m","%s"]' % ONE, {"number": 1}),
        (b"\x81\x012", {"answer": b"\x81\x81\x00\x00\x00\x003"}),
        (b"\x81\x016", {}),
        (b'\x81\x7e\x01\x3642["m","%s"]' % TWO, {"number": 1_234_567_890}),
    ],
}


def test_every_server_is_tried_here() -> None:
    assert set(STREAMS) == set(PEERS)


@pytest.mark.parametrize("name", STREAMS)
def test_frames_are_found_only_when_they_are_whole(name: str) -> None:
    peer, stream, start = PEERS[name](), b"".join(frame for frame, _ in STREAMS[name]), 0
    for frame, wanted in STREAMS[name]:
        end = start + len(frame)
        for cut in range(start, end):
            assert peer.frame(stream[:cut], start) is None
        for data in (stream[:end], stream, bytearray(stream)):
            assert peer.frame(data, start) == Frame(end, **wanted)
        start = end


@pytest.mark.parametrize("size", [DIGITS, 100, 127, 128, 20_000])
def test_mqtt_lengths_are_varints(size: int) -> None:
    words = packet(0x30, text("t") + payload(7, size))
    assert PEERS["mosquitto"]().frame(words + b"\x30", 0) == Frame(len(words), 7)


ANSWERS: dict[str, list[bytes]] = {
    "roost": [encode("ok", 1, {"uid": "u7"}) + encode("ok", 2, {"room": "plaza/t"})],
    "nats": [b'INFO {"server_id":"A"}\r\nPONG\r\n'],
    "mosquitto": [b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"],
    "nchan": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"],
    "websockets": [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"\x81\x05ready"],
    "socketio": [
        b'HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x080{"sid":}',
        b'\x81\x1040{"sid":"abcd"}'[:-2] + b'"}',
        b'\x81\x0d430["joined"]',
    ],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_step_is_done_with_the_whole_answer_and_not_before(name: str) -> None:
    steps = PEERS[name]().enter(7, "t")
    assert len(steps) == len(ANSWERS[name])
    for step, answer in zip(steps, ANSWERS[name], strict=True):
        done = step.end(answer)
        assert 0 < done <= len(answer)
        assert [step.end(answer[:cut]) for cut in range(done)] == [0] * done
        assert step.end(answer + b"more") == done


def test_roost_that_refuses_a_login_ends_it() -> None:
    step = PEERS["roost"]().enter(7, "t")[0]
    with pytest.raises(ConnectionError, match="unauthorized"):
        step.end(encode("error", 1, {"code": "unauthorized"}))
