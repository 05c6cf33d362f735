from __future__ import annotations

import socket
import struct

import pytest

from common.errors import BadPacket
from common.wire.proxy import FIXED_BYTES, SIGNATURE, size_of, source_of


def header(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack(">H", len(body)) + body


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 40_000, 7000)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack(">HH", 40_000, 7000)
HEADERS = {
    "IPv4": (header(0x21, 0x11, FOUR), "192.0.2.7"),
    "IPv4 with more behind": (header(0x21, 0x11, FOUR + b"\x04\0\x01\0"), "192.0.2.7"),
    "IPv6": (header(0x21, 0x21, SIX), "2001:db8::7"),
    "the proxy's own check": (header(0x20, 0, b""), ""),
    "a unix socket": (header(0x21, 0x31, b"\0" * 216), ""),
}


@pytest.mark.parametrize(("data", "address"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_names_the_client(data: bytes, address: str):
    assert size_of(data[:FIXED_BYTES]) == len(data)
    assert source_of(data) == address


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\r\n",
        header(0x31, 0x11, FOUR)[:16],
        header(0x22, 0x11, FOUR)[:16],
        header(0x21, 0x11, b"x" * 2000)[:16],
    ],
    ids=["HTTP", "another version", "an unknown command", "too long"],
)
def test_what_is_no_header_is_refused(start: bytes):
    with pytest.raises(BadPacket):
        size_of(start)


def test_a_header_too_short_for_its_family_is_refused():
    with pytest.raises(BadPacket):
        source_of(header(0x21, 0x21, FOUR))
