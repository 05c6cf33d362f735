"""A subscriber's end of a WebSocket, for the servers that speak it: opening, messages, frames.

    frame    u8 FIN and opcode, u8 mask bit and length (126: a u16 follows, 127: a u64), mask, payload

A client must mask; a mask of zeros leaves the payload as it is.

Source: RFC 6455, sections 4.1 and 5.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from loadtest.peers.peer import HOST, Data, Frame, Step, behind

TEXT, CLOSE, PING = 1, 8, 9
PONG = 10
FIN = MASKED = 0x80
NO_MASK = bytes(4)
HEAD_END = b"\r\n\r\n"


def opening(target: str) -> bytes:
    """Give the request that opens it; no extension is offered, so nothing is compressed."""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dhcm0tb2YtY2xpZW50cw==\r\n\r\n"
    ).encode()


def open_step(target: str) -> Step:
    """Open it."""
    return Step(opening(target), behind(HEAD_END))


def message(words: bytes, opcode: int = TEXT) -> bytes:
    """Give a client's frame."""
    size = len(words)
    head = bytes((FIN | opcode, MASKED | min(size, 126)))
    return head + (size.to_bytes(2) if size >= 126 else b"") + NO_MASK + words


def server_message(words: bytes) -> bytes:
    """Give a short text frame as a server writes it."""
    return bytes((FIN | TEXT, len(words))) + words


class Part(NamedTuple):
    """A frame's opcode, and where its payload begins and ends."""

    opcode: int
    begin: int
    end: int


def part(data: Data, start: int) -> Part | None:
    """Give a server's frame, which is not masked; None when it is not yet all there."""
    if len(data) - start < 2:
        return None
    size, begin = data[start + 1], start + 2
    if size >= 126:
        begin += 2 if size == 126 else 8
        size = int.from_bytes(data[start + 2 : begin])
    end = begin + size
    return Part(data[start] & 0x0F, begin, end) if end <= len(data) else None


def frame(data: Data, start: int, skip: int, number_at: Callable[[Data, int], int]) -> Frame | None:
    """Give the next frame of a stream whose text messages begin, behind `skip` bytes, with our payload."""
    found = part(data, start)
    if found is None:
        return None
    opcode, begin, end = found
    if opcode == TEXT:
        return Frame(end, number_at(data, begin + skip))
    if opcode == PING:
        return Frame(end, answer=message(bytes(data[begin:end]), PONG))
    return Frame(end, refusal=f"close {int.from_bytes(data[begin : begin + 2])}" if opcode == CLOSE else "")
