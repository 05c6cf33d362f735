"""The PROXY protocol's header, version 2: whose connection a proxy passes on.

    signature 12 │ version 2, command │ family, transport │ u16 size │ addresses, more

Source: HAProxy's "The PROXY protocol", version 2 (2020), section 2.2.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final

from common.errors import BadPacket

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
FIXED_BYTES: Final = 16
LOCAL, PROXY = 0x20, 0x21
FAMILIES: Final = {0x10: 4, 0x20: 16}
"""Family -> bytes of an address."""
LIMIT: Final = 1024
"""Bytes behind the fixed part: addresses and what proxies add to them."""


def size_of(start: bytes) -> int:
    """Give how long the whole header is, from its first 16 bytes.

    Raises:
        BadPacket: it is none, or too long.
    """
    if start[:12] != SIGNATURE or start[12] not in (LOCAL, PROXY):
        raise BadPacket("no PROXY protocol v2 header")
    size: int = struct.unpack_from(">H", start, 14)[0]
    if size > LIMIT:
        raise BadPacket("PROXY header too long", limit=LIMIT)
    return FIXED_BYTES + size


def source_of(header: bytes) -> str:
    """Give the client's address; "" when the header names none (a proxy's own check).

    Raises:
        BadPacket: it is shorter than its family needs.
    """
    size = FAMILIES.get(header[13] & 0xF0)
    if header[12] == LOCAL or size is None:
        return ""
    if len(header) < FIXED_BYTES + 2 * size:
        raise BadPacket("PROXY header without addresses")
    return str(ip_address(header[FIXED_BYTES : FIXED_BYTES + size]))
