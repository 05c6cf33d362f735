"""Packets as JSON: `[op, id, body]`, in UTF-8.

What goes out was packed once as msgpack, for all; `translate` makes JSON of that. What
comes in is decoded here and, as `Packet`, is like any other from there on.

Source: docs/protocol.md, sections 1 and 2.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

from common.errors import BadField, BadPacket
from common.wire.codec import ID_LIMIT, UNDECODABLE, Packet, as_packet, unpack
from common.wire.jsondata import from_marks, to_json

_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_PING: Final = re.compile(rb'\[\s*"ping"\s*,\s*(\d{1,10})\s*,\s*\{\s*\}\s*\]')
"""A ping as clients write it; in any other form it is answered the ordinary way."""


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_decode: Final = json.JSONDecoder(parse_constant=_no_number).decode


def load(text: bytes) -> Any:
    """Give the one JSON value that these bytes are; marks of `data` are still marks.

    Raises:
        BadPacket: not UTF-8, not JSON, or nested deeper than the decoder follows.
    """
    try:
        return _decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise BadPacket("packet is not JSON") from error


def decode(text: bytes) -> Packet:
    """Give the one packet that these bytes are.

    Raises:
        BadPacket: not JSON, or not a packet.
    """
    return packet_of(load(text))


def packet_of(value: Any) -> Packet:
    """Give a decoded JSON value as a packet; a field with a mark that means nothing is UNDECODABLE.

    Raises:
        BadPacket: not a packet.
    """
    packet = as_packet(value)
    for key, field in packet.body.items():
        if type(field) is dict or type(field) is list:
            packet.body[key] = _field(field, key)
    return packet


def _field(value: Any, key: str) -> Any:
    try:
        return from_marks(value, key)
    except BadField:
        return UNDECODABLE


def encode(packet: Any) -> bytes:
    """Give a packet (op, id, body) as JSON."""
    return _encode(to_json(list(packet))).encode()


def translate(packed: bytes) -> bytes:
    """Give a packet in msgpack, as this server made it, as JSON."""
    return encode(unpack(packed))


def ping_reply(text: bytes) -> bytes | None:
    """Give the answer when this is a plain `ping`; never raises.

    Returns:
        The `pong`; b"" for a ping with id 0; None when it is something else.
    """
    match = _PING.fullmatch(text) if len(text) < 40 else None
    if match is None or int(match[1]) > ID_LIMIT:
        return None
    return b'["pong",%s,{}]' % match[1].lstrip(b"0") if int(match[1]) else b""
