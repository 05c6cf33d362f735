"""Packets as msgpack.

    TCP frame   u32 size │ packet
    packet      93 │ op: str │ id: uint │ body: map with string keys

`data` is packed once, by `pack`, and spliced into every packet that carries it. A
second codec is a second module with functions of these names; what makes a decoded
value a packet (`as_packet`) is shared.

Source: docs/protocol.md, sections 1 and 2; https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from msgpack import Packer, Unpacker, UnpackException, unpackb

from common.errors import BadPacket

ID_LIMIT: Final = 2**31 - 1
BOMB_BYTES: Final = 1024
"""Bodies above this are walked once before anything is built: msgpack sets aside room
for what an array announces, at each of 1,024 levels. Below it that is 3 MB at worst."""

_pack_size = struct.Struct(">I").pack
_packer: Final = Packer(autoreset=True)
_pack: Callable[[Any], bytes] = _packer.pack

_MESSAGE: Final = b"\x93" + _pack("message") + b"\x00\x85"
_INBOX: Final = b"\x93" + _pack("inbox") + b"\x00"
_DATA: Final = _pack("data")
_PING: Final = b"\x93" + _pack("ping")
_PONG: Final = b"\x93" + _pack("pong")
_ID_HEADS: Final = {2: b"\xcc", 3: b"\xcd", 5: b"\xce"}
"""Bytes an id takes -> its first one; a single byte is the id itself."""


class Packet(NamedTuple):
    """One packet: op, the client's number for the request (0: no reply wanted), fields."""

    op: str
    id: int
    body: dict[str, Any]


class Undecodable:
    """Stands for a field whose value is well-formed msgpack but has no decoded form."""


UNDECODABLE: Final = Undecodable()


def as_packet(value: Any) -> Packet:
    """Give a decoded value as a packet.

    Raises:
        BadPacket: not `[string, id 0 … 2^31-1, map with string keys]`.
    """
    if type(value) is not list or len(value) != 3:
        raise BadPacket("packet is not an array of three")
    op, number, body = value
    if type(op) is not str:
        raise BadPacket("op is not a string")
    if type(number) is not int or not 0 <= number <= ID_LIMIT:
        raise BadPacket("id is not an integer from 0 to 2^31-1")
    if type(body) is not dict:
        raise BadPacket("body is not a map")
    for key in body:
        if type(key) is not str:
            raise BadPacket("body has a key that is not a string")
    return Packet(op, number, body)


def decode(body: bytes) -> Packet:
    """Give the one packet that these bytes are.

    A field whose value is no plain value (an extension, invalid UTF-8, a map with other
    keys than strings …) is still in the body, as something the check of that field
    refuses: the connection goes on.

    Raises:
        BadPacket: not msgpack, more than one value, or not a packet.
    """
    if len(body) > BOMB_BYTES:
        _walk(body)
    try:
        value = unpackb(body)
    except ValueError:
        value = _decode_by_field(body)
    return as_packet(value)


def _walk(body: bytes) -> None:
    """Pass silently when this is one whole msgpack value; builds nothing.

    Raises:
        BadPacket: it is not, or it nests deeper than msgpack follows (1,024).
    """
    reader = _reader(body)
    try:
        reader.skip()
    except (ValueError, UnpackException) as error:
        raise BadPacket("packet is not msgpack") from error
    if reader.tell() != len(body):
        raise BadPacket("bytes after the packet")


def _reader(body: bytes) -> Unpacker:
    reader = Unpacker(max_buffer_size=max(len(body), 1))
    reader.feed(body)
    return reader


def _decode_by_field(body: bytes) -> list[Any]:
    """Decode each value of the packet's body by itself; one that fails is UNDECODABLE.

    Raises:
        BadPacket: not one msgpack value, or no packet as far as it was decoded.
    """
    _walk(body)
    reader = _reader(body)
    try:
        if reader.read_array_header() != 3:
            raise BadPacket("packet is not an array of three")
        op, number = reader.unpack(), reader.unpack()
        count = reader.read_map_header()
    except ValueError as error:
        raise BadPacket("packet is not [string, id, map]") from error
    fields: dict[str, Any] = {}
    for _ in range(count):
        key = _value(reader, body)
        if type(key) is not str:
            raise BadPacket("body has a key that is not a string")
        fields[key] = _value(reader, body)
    return [op, number, fields]


def _value(reader: Unpacker, body: bytes) -> Any:
    start = reader.tell()
    reader.skip()
    try:
        return unpackb(body[start : reader.tell()])
    except ValueError:
        return UNDECODABLE


def pack(value: Any) -> bytes:
    """Give a plain value as msgpack; `data` is packed this way once it was checked.

    Raises:
        TypeError, ValueError, OverflowError: msgpack cannot carry it.
    """
    return _pack(value)


def unpack(blob: bytes) -> Any:
    """Give the value `pack` made these bytes from; tuples come back as lists.

    Raises:
        ValueError: not exactly one value.
    """
    return unpackb(blob)


def encode(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto a TCP connection, size in front."""
    packed = _pack((op, number, body))
    return _pack_size(len(packed)) + packed


def message_frame(room: str, offset: int, uid: str, data: bytes, time: int) -> bytes:
    """Give a framed `message` packet.

    Args:
        room: as clients name it, "map/name".
        uid: "" for the server.
        data: as `pack` made it; spliced in unopened.
        time: unix ms.
    """
    fields = _pack({"room": room, "offset": offset, "uid": uid, "time": time})
    size = len(_MESSAGE) + len(fields) - 1 + len(_DATA) + len(data)
    return b"".join((_pack_size(size), _MESSAGE, fields[1:], _DATA, data))


def encode_messages(
    number: int, fields: dict[str, Any], room: str, messages: Sequence[Sequence[Any]]
) -> bytes:
    """Give a framed `ok` whose body is `fields` and `messages`.

    Args:
        messages: (offset, uid, data as `pack` made it, time in ms) each; data is spliced in unopened.
    """
    head = _pack(fields)
    parts = [b"\x93", _pack("ok"), _pack(number), bytes((head[0] + 1,)), head[1:], _pack("messages")]
    parts.append(_packer.pack_array_header(len(messages)))
    for offset, uid, data, time in messages:
        one = _pack({"room": room, "offset": offset, "uid": uid, "time": time})
        parts += (b"\x85", one[1:], _DATA, data)
    body = b"".join(parts)
    return _pack_size(len(body)) + body


def inbox_frame(
    mid: int,
    uid: str,
    data: bytes,
    time: int,
    seq: int | None = None,
    bseq: int | None = None,
    gap: bool = False,
) -> bytes:
    """Give a framed `inbox` packet.

    Args:
        data: as `pack` made it; spliced in unopened.
        time: unix ms.
        seq, bseq: position in one of the two streams; neither: sent without `keep`.
        gap: something before this one was dropped; left out when False.
    """
    body: dict[str, Any] = {"mid": mid, "uid": uid, "time": time}
    if seq is not None:
        body["seq"] = seq
    if bseq is not None:
        body["bseq"] = bseq
    if gap:
        body["gap"] = True
    fields = _pack(body)
    size = len(_INBOX) + len(fields) + len(_DATA) + len(data)
    head = bytes((fields[0] + 1,))
    return b"".join((_pack_size(size), _INBOX, head, fields[1:], _DATA, data))


def ping_reply(body: bytes) -> bytes | None:
    """Give the framed answer when this is a plain `ping`; never raises, never decodes.

    Returns:
        The framed `pong`; b"" for a ping with id 0; None when it is something else
        or a ping in an unusual form, which the ordinary way then answers.
    """
    if not body.startswith(_PING) or body[-1] != 0x80:
        return None
    number = body[6:-1]
    length = len(number)
    if length == 1:
        if number == b"\x00":
            return b""
        if number > b"\x7f":
            return None
    elif number[:1] != _ID_HEADS.get(length) or not 0 < int.from_bytes(number[1:]) <= ID_LIMIT:
        return None
    return _pack_size(7 + length) + _PONG + number + b"\x80"
