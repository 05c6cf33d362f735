from __future__ import annotations

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode
from websockets.utils import apply_mask

from common.wire import jsoncodec
from common.wire.websocket import Message, Reader, close_frame, frame, quick, whole

LIMIT = 1_000
MASK = b"\x01\x7f\xff\x00"


def said(opcode: Opcode, data: bytes, fin: bool = True, rsv1: bool = False) -> bytes:
    """Give a frame as a client sends it."""
    head = bytearray(frame(opcode, data))
    head[0] = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    head[1] |= 0x80
    start = len(head) - len(data)
    return bytes(head[:start]) + MASK + apply_mask(data, MASK)


def close_of(data: bytes) -> int:
    """Give the code of the close frame at the end of what a server wrote."""
    start = data.rindex(b"\x88")
    return int.from_bytes(data[start + 2 : start + 4])


WAYS = {"whole": 10_000, "byte by byte": 1, "in threes": 3}


def feed(reader: Reader, data: bytes, step: int) -> tuple[list[Message], bytes]:
    """Feed bytes in pieces; give (messages, what the server answers by itself)."""
    messages: list[Message] = []
    replies = b""
    for start in range(0, len(data), step):
        messages += reader.take(data[start : start + step])
        replies += reader.replies()
    return messages, replies


@pytest.mark.parametrize("step", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("size", [0, 1, 125, 126, 900])
def test_a_message_of_any_size_arrives_however_it_is_cut(step: int, size: int):
    reader = Reader(LIMIT)
    messages, replies = feed(reader, said(Opcode.BINARY, b"x" * size) + said(Opcode.TEXT, b"next"), step)
    assert messages == [Message(False, b"x" * size), Message(True, b"next")]
    assert replies == b""
    assert reader.idle


@pytest.mark.parametrize("step", WAYS.values(), ids=WAYS.keys())
def test_fragments_are_put_together_with_a_ping_between_them(step: int):
    reader = Reader(LIMIT)
    first = said(Opcode.TEXT, b"gr", fin=False) + said(Opcode.PING, b"here?")
    messages, replies = feed(reader, first, step)
    assert messages == []
    assert replies == frame(Opcode.PONG, b"here?")
    assert not reader.idle
    messages, _ = feed(reader, said(Opcode.CONT, "üße".encode()), step)
    assert messages == [Message(True, "grüße".encode())]
    assert reader.idle


def test_fragments_without_content_leave_nothing_and_are_counted():
    reader = Reader(LIMIT)
    reader.take(said(Opcode.TEXT, b"", fin=False) + said(Opcode.CONT, b"", fin=False) * 99)
    assert (reader.controls, reader._parts) == (100, [])
    assert reader.take(said(Opcode.CONT, b"x")) == [Message(True, b"x")]


def test_compressed_messages_that_grow_are_given_few_at_once():
    deflate = PerMessageDeflate(True, True, 12, 12)
    packed = bytes(deflate.encode(Frame(Opcode.TEXT, b"x" * LIMIT)).data)
    reader = Reader(LIMIT, [PerMessageDeflate(True, True, 12, 12)])
    taken = reader.take(said(Opcode.TEXT, packed, rsv1=True) * 100 + said(Opcode.PING, b"here?"))
    while taken:
        assert len(taken) == 1
        last, taken = taken, reader.take(b"")
    assert last == [Message(True, b"x" * LIMIT)]
    assert reader.replies() == frame(Opcode.PONG, b"here?")
    assert reader.idle


def test_half_a_frame_keeps_it_from_being_idle():
    reader = Reader(LIMIT)
    data = said(Opcode.BINARY, b"abc")
    for end in range(1, len(data)):
        reader = Reader(LIMIT)
        assert reader.take(data[:end]) == []
        assert not reader.idle


def test_pings_and_pongs_are_counted_once():
    reader = Reader(LIMIT)
    reader.take(said(Opcode.PING, b"a") + said(Opcode.PONG, b"") + said(Opcode.TEXT, b"t"))
    assert reader.controls == 2
    reader.take(said(Opcode.TEXT, b"t"))
    assert reader.controls == 0


BROKEN = {
    "text that is not UTF-8": (said(Opcode.TEXT, b"\xff"), CloseCode.INVALID_DATA),
    "fragments that are not UTF-8 together": (
        said(Opcode.TEXT, b"\xc3", fin=False) + said(Opcode.CONT, b"("),
        CloseCode.INVALID_DATA,
    ),
    "a reserved bit": (said(Opcode.TEXT, b"x", rsv1=True), CloseCode.PROTOCOL_ERROR),
    "an unknown opcode": (b"\x83\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR),
    "an unknown control opcode": (b"\x8b\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR),
    "no mask": (frame(Opcode.TEXT, b"x"), CloseCode.PROTOCOL_ERROR),
    "a fragmented ping": (b"\x09\x80\0\0\0\0", CloseCode.PROTOCOL_ERROR),
    "a ping of 126 bytes": (b"\x89\xfe\0\x7e\0\0\0\0" + b"x" * 126, CloseCode.PROTOCOL_ERROR),
    "a continuation of nothing": (said(Opcode.CONT, b"x"), CloseCode.PROTOCOL_ERROR),
    "a message within a message": (
        said(Opcode.TEXT, b"x", fin=False) + said(Opcode.TEXT, b"y"),
        CloseCode.PROTOCOL_ERROR,
    ),
    "a message too large": (said(Opcode.BINARY, b"x" * (LIMIT + 1)), CloseCode.MESSAGE_TOO_BIG),
    "fragments too large together": (
        said(Opcode.BINARY, b"x" * 600, fin=False) + said(Opcode.CONT, b"x" * 600),
        CloseCode.MESSAGE_TOO_BIG,
    ),
    "an announced size of 2^62": (b"\x82\xff" + (2**62).to_bytes(8), CloseCode.MESSAGE_TOO_BIG),
    "a close with one byte": (b"\x88\x81\0\0\0\0\x03", CloseCode.PROTOCOL_ERROR),
    "a close code of 999": (said(Opcode.CLOSE, (999).to_bytes(2)), CloseCode.PROTOCOL_ERROR),
    "a close code of 1005": (said(Opcode.CLOSE, (1005).to_bytes(2)), CloseCode.PROTOCOL_ERROR),
    "a close reason that is not UTF-8": (said(Opcode.CLOSE, b"\x03\xe8\xff"), CloseCode.INVALID_DATA),
}


@pytest.mark.parametrize("step", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("data", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_ends_it_with_the_code_of_the_rfc(data: bytes, code: CloseCode, step: int):
    reader = Reader(LIMIT)
    messages, replies = feed(reader, data, step)
    assert messages == []
    assert reader.over
    assert reader.failed
    assert close_of(replies) == code


def test_what_is_announced_too_large_is_refused_before_it_comes():
    reader = Reader(LIMIT)
    reader.take(said(Opcode.BINARY, b"x" * (LIMIT + 1))[:4])
    assert reader.over


def test_a_close_is_answered_with_its_code_and_what_follows_is_not_read():
    reader = Reader(LIMIT)
    messages, replies = feed(
        reader,
        said(Opcode.TEXT, b"last") + said(Opcode.CLOSE, b"\x0f\xa0bye") + said(Opcode.TEXT, b"no"),
        10_000,
    )
    assert messages == [Message(True, b"last")]
    assert (reader.over, reader.failed) == (True, "")
    assert close_of(replies) == 4000


def test_a_close_frame_cuts_its_reason():
    assert close_frame(1000, "x" * 200) == b"\x88\x7d\x03\xe8" + b"x" * 123


SIZES = {
    0: b"\x82\x00",
    125: b"\x82\x7d",
    126: b"\x82\x7e\x00\x7e",
    65_536: b"\x82\x7f" + (65_536).to_bytes(8),
}


@pytest.mark.parametrize("size", SIZES)
def test_a_server_frame_is_that_of_the_rfc(size: int):
    payload = b"x" * size
    assert frame(Opcode.BINARY, payload) == SIZES[size] + payload
    assert frame(Opcode.BINARY, payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


def test_whole_frames_are_told_from_half_ones():
    one, two = said(Opcode.TEXT, b"x" * 300), said(Opcode.TEXT, b"y")
    both = one + two
    for end in range(len(both) + 1):
        expected = len(both) if end == len(both) else len(one) if end >= len(one) else 0
        assert whole(both[:end], LIMIT) == expected


def test_a_quiet_clients_ping_is_answered_without_a_reader():
    asked = said(Opcode.TEXT, b'["ping",7,{}]')
    assert quick(asked, jsoncodec.ping_reply, Opcode.TEXT) == frame(Opcode.TEXT, b'["pong",7,{}]')
    assert quick(said(Opcode.PING, b"abcde"), jsoncodec.ping_reply, Opcode.TEXT) == frame(
        Opcode.PONG, b"abcde"
    )
    assert quick(said(Opcode.TEXT, b'["ping",0,{}]'), jsoncodec.ping_reply, Opcode.TEXT) == b""


OTHERS = {
    "nothing": b"",
    "half a frame": said(Opcode.PING, b"abc")[:-1],
    "two frames": said(Opcode.PING, b"") * 2,
    "another packet": said(Opcode.TEXT, b'["bye",7,{}]'),
    "the other type": said(Opcode.BINARY, b'["ping",7,{}]'),
    "a fragment": said(Opcode.TEXT, b'["ping",7,{}]', fin=False),
    "compressed": said(Opcode.TEXT, b'["ping",7,{}]', rsv1=True),
    "a close": said(Opcode.CLOSE, b""),
    "unmasked": frame(Opcode.PING, b"abcdef"),
    "a large one": said(Opcode.PING, b"")[:1] + b"\xfe" + b"\0" * 130,
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_anything_else_is_for_a_reader(data: bytes):
    assert quick(data, jsoncodec.ping_reply, Opcode.TEXT) is None
