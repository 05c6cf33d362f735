"""Bytes <-> packets, as they travel over TCP.

    0         4
    +---------+------------------------------+
    | length  | msgpack of [op, id, body]    |    length: u32, big-endian, of the rest
    +---------+------------------------------+

Packets simply follow each other. No I/O, no clock.
"""

from __future__ import annotations

import struct
from typing import Any

import msgpack

from .errors import PacketTooLarge, ProtocolError

Packet = tuple[str, int, dict[str, Any]]

LARGEST_OUT = 64 * 1024  # what the server takes from a client
LARGEST_IN = 1024 * 1024  # what the server may send

_LENGTH = struct.Struct(">I")


def encode(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give the bytes of one packet, length first.

    Raises:
        PacketTooLarge: above 64 KiB; the server would end the connection for it.
        TypeError, ValueError, OverflowError: a value msgpack has no form for.
    """
    packed: bytes = msgpack.packb((op, number, body), use_bin_type=True)
    if len(packed) > LARGEST_OUT:
        raise PacketTooLarge(
            f"packet of {len(packed)} bytes; the server takes {LARGEST_OUT}",
            facts={"size": len(packed), "limit": LARGEST_OUT},
        )
    return _LENGTH.pack(len(packed)) + packed


class Decoder:
    """Cuts a stream of bytes into packets."""

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = LARGEST_IN) -> None:
        self._limit = limit
        self._rest = b""

    def receive_data(self, data: bytes) -> list[Packet]:
        """Take bytes off the wire; give the packets they complete.

        Args:
            data: any number of bytes, cut anywhere; b"" is allowed.

        Returns:
            Packets in the order received; [] when more bytes are needed.

        Raises:
            ProtocolError: a length above the limit (before its body is
                buffered), or bytes that are no packet.
        """
        buffer = self._rest + data if self._rest else data
        packets: list[Packet] = []
        start, size = 0, len(buffer)
        while size - start >= 4:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                raise ProtocolError(f"packet of {length} bytes announced, the limit is {self._limit}")
            end = start + 4 + length
            if end > size:
                break
            packets.append(_packet(buffer[start + 4 : end]))
            start = end
        self._rest = buffer[start:] if start else buffer
        return packets


def _packet(packed: bytes) -> Packet:
    try:
        packet = msgpack.unpackb(packed, raw=False)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"undecodable packet: {error}") from error
    match packet:
        case [str(op), int(number), dict(body)]:
            return op, number, body
    raise ProtocolError("a packet is [string, id, map]")
