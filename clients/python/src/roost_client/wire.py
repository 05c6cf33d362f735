"""A TCP socket as the client needs it: one thread waits for bytes, any thread sends.

Sending never waits: it goes through a second, non-blocking handle on the same
connection, so a full socket can hold up neither the reader nor a lock. Only calls that
gevent patches are used.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

Address = tuple[str, int]

CHUNK = 64 * 1024  # bytes read at once


def parse_address(text: str | Sequence[str | int]) -> Address:
    """Give (host, port) of "host:port", "[v6]:port" or a pair.

    Raises:
        ValueError: neither; the text names the value.
    """
    if not isinstance(text, str):
        host, port = text
        return str(host), int(port)
    host, colon, port_text = text.rpartition(":")
    if not colon or not host or not port_text.isdecimal():
        raise ValueError(f"not a host:port address: {text!r}")
    return host.strip("[]"), int(port_text)


def address_text(address: Address) -> str:
    """Give an address as `parse_address` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Wire:
    """One connection's socket."""

    __slots__ = ("_reading", "_writing")

    def __init__(self, address: Address, timeout: float) -> None:
        """Connect.

        Raises:
            OSError: not within `timeout` seconds, or refused.
        """
        self._reading = socket.create_connection(address, timeout)
        try:
            self._reading.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._writing = self._reading.dup()
        except OSError:
            self._reading.close()
            raise
        self._writing.setblocking(False)

    def receive(self, timeout: float) -> bytes | None:
        """Wait for bytes: b"" at the end of the stream, None when none came in time."""
        self._reading.settimeout(max(timeout, 0.001))
        try:
            return self._reading.recv(CHUNK)
        except TimeoutError:
            return None

    def send(self, data: bytearray) -> int:
        """Give the socket what it takes at once; how many bytes that were."""
        try:
            return self._writing.send(data)
        except BlockingIOError:
            return 0

    def end_sending(self) -> None:
        """Let the peer read what was sent, then the end of the stream."""
        with contextlib.suppress(OSError):
            self._writing.shutdown(socket.SHUT_WR)

    def shut(self) -> None:
        """End both directions; a `receive` that waits comes back at once."""
        with contextlib.suppress(OSError):
            self._writing.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptors back. Only the reader may call this."""
        self._writing.close()
        self._reading.close()
