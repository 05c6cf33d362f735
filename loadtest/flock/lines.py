"""A client's socket where it is more than plain TCP: a carrier, TLS, or both; an object for each such client.

Frames go in and come out as on plain TCP, so that whoever counts them need not know.
"""

from __future__ import annotations

import socket
import ssl

from loadtest.flock.plan import Plan
from loadtest.wires import WIRES, Wire

READ_BYTES = 262_144


def trusting() -> ssl.SSLContext:
    """Give a client's TLS, 1.3, that takes any certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


class Line:
    """What stands between one client and its descriptor.

    Args:
        descriptor: connected, non-blocking; the line's from here on.
        frames: its first words, whole frames; they go out when handshakes and openings are done.
    """

    __slots__ = ("_first", "_sock", "_wire")

    def __init__(self, wire: Wire | None, tls: ssl.SSLContext | None, descriptor: int, frames: bytes) -> None:
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        self._sock = tls.wrap_socket(sock, do_handshake_on_connect=False) if tls is not None else sock
        self._wire = wire
        self._first = wire.begin(frames) if wire is not None else frames

    def begin(self) -> None:
        """Shake hands, if that is done at all; the first words follow, now or at a later `read`.

        Raises:
            OSError: lost.
        """
        if isinstance(self._sock, ssl.SSLSocket):
            try:
                self._sock.do_handshake()
            except ssl.SSLWantReadError:
                return
        words, self._first = self._first, b""
        self._sock.sendall(words)

    def read(self) -> bytes:
        """Give frames, cut anywhere; b"": the server has closed.

        Raises:
            BlockingIOError: none are here yet.
            OSError: lost, or refused by the carrier.
        """
        if self._first:
            self.begin()
        try:
            data = self._sock.recv(READ_BYTES)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        if not data or self._wire is None:
            return data
        frames, answer = self._wire.take(data)
        if answer:
            self._sock.sendall(answer)
        if not frames:
            raise BlockingIOError
        return frames

    def write(self, frames: bytes) -> None:
        """Write whole frames.

        Raises:
            OSError: lost, or the carrier takes none.
        """
        self._sock.sendall(self._wire.wrap(frames) if self._wire is not None else frames)

    def close(self) -> None:
        """Close the descriptor."""
        self._sock.close()


class Lines:
    """Makes the lines of a flock."""

    def __init__(self, plan: Plan) -> None:
        self._carrier = plan.carrier
        self._tls = trusting() if plan.tls else None

    def line(self, descriptor: int, frames: bytes) -> Line:
        """Give a new client's line, not begun."""
        wire = WIRES[self._carrier]() if self._carrier != "tcp" else None
        return Line(wire, self._tls, descriptor, frames)
