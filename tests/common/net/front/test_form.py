from __future__ import annotations

from typing import Any

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import CloseCode, Frame, Opcode

from common.errors import KICKS
from common.net.front.form import TCP, Forms
from common.wire import websocket
from common.wire.codec import encode

DEFLATE = (True, True, 12, 12)


def said(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=True)


def test_json_of_some_frames_is_a_message_each():
    form = Forms().websocket(True, None)
    frames = encode("pong", 1, {}) + encode("message", 0, {"data": b"\x00"})
    assert form.wrap(frames) == websocket.frame(Opcode.TEXT, b'["pong",1,{}]') + websocket.frame(
        Opcode.TEXT, b'["message",0,{"data":{"$bin":"AA=="}}]'
    )


def test_msgpack_goes_out_as_it_was_packed():
    frames = encode("pong", 1, {})
    assert Forms().websocket(False, None).wrap(frames) == websocket.frame(Opcode.BINARY, frames[4:])


def test_the_same_frames_are_translated_once_for_all():
    forms = Forms()
    frames = encode("message", 0, {"data": [1]})
    assert forms.websocket(True, None).wrap(frames) is forms.websocket(True, None).wrap(frames)
    other = bytes(bytearray(frames))
    assert forms.websocket(True, None).wrap(other) == forms.websocket(True, None).wrap(frames)


def test_large_messages_are_compressed_and_small_ones_are_not():
    form = Forms().websocket(True, DEFLATE)
    small, large = encode("pong", 1, {}), encode("message", 0, {"data": "x" * 5_000})
    assert form.wrap(small) == websocket.frame(Opcode.TEXT, b'["pong",1,{}]')
    wrapped = form.wrap(large)
    assert len(wrapped) < 200
    head = 2 if wrapped[1] < 126 else 4
    back = PerMessageDeflate(True, True, 12, 12).decode(Frame(Opcode.TEXT, wrapped[head:], rsv1=True))
    assert bytes(back.data).startswith(b'["message",0,{"data":"xxx')


def test_a_compressed_bomb_is_refused_before_it_is_whole():
    reader = Forms().websocket(True, DEFLATE).reader(1_000)
    bomb = PerMessageDeflate(True, True, 12, 12).encode(Frame(Opcode.TEXT, b"x" * 100_000))
    mask = b"\0\0\0\0"
    size = len(bomb.data)
    assert reader.take(bytes((0xC1, 0x80 | 126)) + size.to_bytes(2) + mask + bytes(bomb.data)) == []
    assert reader.over
    assert int(CloseCode.MESSAGE_TOO_BIG).to_bytes(2) in reader.replies()


def test_a_reader_tells_what_compressed_messages_have_become():
    reader = Forms().websocket(True, DEFLATE).reader(1_000)
    small = bytes(PerMessageDeflate(True, True, 12, 12).encode(Frame(Opcode.TEXT, b"x" * 900)).data)
    reader.take(bytes((0xC1, 0x80 | len(small))) + b"\0\0\0\0" + small)
    assert reader.grown == 900
    assert reader.take(b"") == []
    assert reader.grown == 0


@pytest.mark.parametrize("text", [True, False])
def test_a_message_of_the_other_type_ends_it(text: bool):
    reader = Forms().websocket(text, None).reader(1_000)
    right, wrong = (Opcode.TEXT, Opcode.BINARY) if text else (Opcode.BINARY, Opcode.TEXT)
    assert reader.take(said(right, b"a") + said(wrong, b"b") + said(right, b"c")) == [b"a"]
    assert reader.over
    assert int(CloseCode.UNSUPPORTED_DATA).to_bytes(2) in reader.replies()


@pytest.mark.parametrize("code", KICKS)
def test_a_kick_has_its_close_code(code: str):
    place = 4000 + list(KICKS).index(code)
    assert Forms().websocket(True, None).closing(code) == websocket.close_frame(place)


def test_a_usual_end_has_the_usual_code_and_tcp_has_none():
    assert Forms().websocket(True, None).closing("bye") == websocket.close_frame(1000)
    assert TCP.closing("banned") == b""


PINGS: dict[str, tuple[Any, bytes, bytes]] = {
    "TCP": (TCP, encode("ping", 7, {}), encode("pong", 7, {})),
    "JSON": (
        Forms().websocket(True, None),
        said(Opcode.TEXT, b'["ping",7,{}]'),
        websocket.frame(Opcode.TEXT, b'["pong",7,{}]'),
    ),
    "msgpack": (
        Forms().websocket(False, None),
        said(Opcode.BINARY, encode("ping", 7, {})[4:]),
        websocket.frame(Opcode.BINARY, encode("pong", 7, {})[4:]),
    ),
}


@pytest.mark.parametrize(("form", "ping", "pong"), PINGS.values(), ids=PINGS.keys())
def test_a_quiet_clients_ping_is_answered_in_its_form(form: Any, ping: bytes, pong: bytes):
    assert form.quick(ping) == pong
    assert form.quick(ping[:-1]) is None
    assert form.quick(ping + ping) is None


def test_a_rule_broken_behind_whole_packets_lets_these_be_served_first():
    reader = TCP.reader(100)
    assert reader.take(encode("ping", 1, {}) + b"\xff\xff\xff\xff") == [encode("ping", 1, {})[4:]]
    with pytest.raises(Exception, match="too large"):
        reader.take(b"")
