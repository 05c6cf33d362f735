from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadField, BadPacket
from common.wire import codec, jsoncodec
from common.wire.ops import check
from common.wire.values import INTEGER_LIMIT

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_LIMIT, INTEGER_LIMIT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
KEYS = st.sampled_from(["a", "$bin", "$esc", "ä"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=4
)
DATA = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3)
)


@given(DATA)
def test_what_went_out_as_json_is_what_comes_in(data: Any) -> None:
    body = {"room": "plaza/x", "data": data}
    packed = codec.encode("publish", 7, body)[4:]
    packet = jsoncodec.decode(jsoncodec.translate(packed))
    assert packet == ("publish", 7, body)
    assert check("publish", packet.body)["data"] == data


def test_text_is_written_as_it_is_and_without_spaces():
    packed = codec.encode("message", 0, {"data": {"ü": [1, 2.5, None, b"\x00"]}})[4:]
    assert jsoncodec.translate(packed).decode() == '["message",0,{"data":{"ü":[1,2.5,null,{"$bin":"AA=="}]}}]'


BROKEN = {
    "nothing": b"",
    "no JSON": b"{",
    "no UTF-8": b'["ping",1,{"a":"\xff"}]',
    "NaN": b'["publish",1,{"data":NaN}]',
    "Infinity": b'["publish",1,{"data":-Infinity}]',
    "two values": b'["ping",1,{}]["ping",1,{}]',
    "an object": b"{}",
    "two elements": b'["ping",1]',
    "an op that is a number": b"[1,1,{}]",
    "an id below 0": b'["ping",-1,{}]',
    "an id that is a float": b'["ping",1.0,{}]',
    "an id that is true": b'["ping",true,{}]',
    "a body that is an array": b'["ping",1,[]]',
    "a nesting of 100,000": b"[" * 100_000,
    "a number of 5,000 digits": b'["ping",1,{"a":' + b"9" * 5_000 + b"}]",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_packet_is_refused(text: bytes):
    with pytest.raises(BadPacket):
        jsoncodec.decode(text)


NO_DATA = {
    "an integer of 2^70": str(2**70),
    "a float too large": "1e999",
    "a lone surrogate": '"\\ud800"',
    "a key with a lone surrogate": '{"\\ud800":1}',
    "33 levels": "[" * 33 + "]" * 33,
    "bin that is not base64": '{"$bin":"?"}',
    "bin that is a number": '{"$bin":5}',
    "an escape of nothing": '{"$esc":{"a":1}}',
}


@pytest.mark.parametrize("data", NO_DATA.values(), ids=NO_DATA.keys())
def test_data_that_is_none_is_the_fields_fault_and_the_connection_goes_on(data: str):
    packet = jsoncodec.decode(b'["publish",1,{"room":"plaza/x","data":%s}]' % data.encode())
    with pytest.raises(BadField) as caught:
        check("publish", packet.body)
    assert caught.value.facts["field"] == "data"


PINGS = {
    b'["ping",7,{}]': b'["pong",7,{}]',
    b'[ "ping" , 2147483647 , { } ]': b'["pong",2147483647,{}]',
    b'["ping",0,{}]': b"",
}


@pytest.mark.parametrize("ping", PINGS)
def test_a_plain_ping_is_answered_without_decoding(ping: bytes):
    assert jsoncodec.ping_reply(ping) == PINGS[ping]
    answer = jsoncodec.ping_reply(ping)
    assert not answer or json.loads(answer)[1] == json.loads(ping)[1]


@pytest.mark.parametrize(
    "text",
    [b'["pings",1,{}]', b'["ping",2147483648,{}]', b'["ping",1,{"a":1}]', b'["ping",-1,{}]', b"", b"x" * 60],
)
def test_anything_else_is_answered_the_ordinary_way(text: bytes):
    assert jsoncodec.ping_reply(text) is None
