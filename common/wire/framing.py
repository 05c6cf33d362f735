"""Packets in a byte stream.

    ┌──────────────────────┬──────────────┐
    │ u32 big-endian: size │ size bytes   │ …
    └──────────────────────┴──────────────┘

A size counts what follows it, and is never 0. Nothing is kept between calls: what
is left over is the caller's, and it is the one `b""` when nothing is left, so a
quiet connection holds no buffer.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

import struct

from common.errors import BadPacket, PacketTooLarge

CLIENT_LIMIT = 65_536
"""Largest packet from a client, bytes: what one connection can make a gateway hold."""
SERVER_LIMIT = 1_048_576
"""Largest packet to a client, bytes: what a client must be ready to hold."""
HEADER_BYTES = 4

_size = struct.Struct(">I")
_size_at = _size.unpack_from
_pack_size = _size.pack


def cut(buffer: bytes, limit: int) -> tuple[list[bytes], bytes]:
    """Cut the whole packets off the front of a buffer.

    Args:
        buffer: any number of bytes, cut anywhere; b"" is allowed.
        limit: largest size a packet may announce, bytes.

    Returns:
        (bodies in the order received, what is left). A bad size behind whole
        packets stays in the rest, so these are still served: call again with the
        rest until it gives no body.

    Raises:
        PacketTooLarge: the first packet announces more than `limit`. Raised from
            its size alone, before the body has arrived.
        BadPacket: the first packet announces 0 bytes.
    """
    length = len(buffer)
    if length < HEADER_BYTES:
        return [], buffer
    size = _size_at(buffer)[0]
    if length == size + HEADER_BYTES and 0 < size <= limit:
        return [buffer[HEADER_BYTES:]], b""
    return _cut_several(buffer, length, limit)


def _cut_several(buffer: bytes, length: int, limit: int) -> tuple[list[bytes], bytes]:
    bodies: list[bytes] = []
    start = 0
    while length - start >= HEADER_BYTES:
        size = _size_at(buffer, start)[0]
        if size == 0 or size > limit:
            if bodies:
                break
            if size == 0:
                raise BadPacket("packet of 0 bytes")
            raise PacketTooLarge("packet too large", size=size, limit=limit)
        end = start + HEADER_BYTES + size
        if end > length:
            break
        bodies.append(buffer[start + HEADER_BYTES : end])
        start = end
    return bodies, buffer[start:]


def frame(body: bytes) -> bytes:
    """Give a packet as it goes onto the wire: its size, then the body."""
    return _pack_size(len(body)) + body
