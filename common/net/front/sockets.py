"""Sockets as connections want them: non-blocking, with `send` and `recv` that raise BlockingIOError.

A plain one is the system's own, without gevent's wrapper; one with TLS is gevent's,
made to behave alike.
"""

from __future__ import annotations

import _socket
from functools import cache
from typing import Any

from gevent.socket import socket as GeventSocket


@cache
def _waits() -> tuple[type[OSError], ...]:
    """Give what a socket with TLS raises where another would block; a gateway without TLS has no `ssl`."""
    from gevent.ssl import SSLWantReadError, SSLWantWriteError

    return (SSLWantReadError, SSLWantWriteError)


class TlsSocket:
    """A socket with TLS.

    What TLS has decrypted and not given yet makes no socket readable, so `recv` gives
    all there is.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def send(self, data: bytes) -> int:
        """Write what fits.

        Raises:
            BlockingIOError: nothing does.
        """
        try:
            sent: int = self._sock.send(data)
        except _waits():
            raise BlockingIOError from None
        return sent

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Read at least what came with one record; b"" at the end. With flags: nothing is known.

        Raises:
            BlockingIOError: nothing is there.
        """
        if flags:
            raise BlockingIOError
        try:
            data: bytes = self._sock.recv(size)
            while data and (waits := self._sock.pending()):
                data += self._sock.recv(waits)
        except _waits():
            raise BlockingIOError from None
        return data

    def fileno(self) -> int:
        """Give its descriptor."""
        number: int = self._sock.fileno()
        return number

    def shutdown(self, how: int) -> None:
        """Say that no more will be written."""
        self._sock.shutdown(how)

    def close(self) -> None:
        """Close it."""
        self._sock.close()


def is_tls(sock: Any) -> bool:
    """Tell whether a gevent socket speaks TLS."""
    return type(sock) is not GeventSocket


def raw(sock: Any) -> Any:
    """Give a gevent socket as connections want it; `sock` itself is of no use any more."""
    if is_tls(sock):
        sock.settimeout(0)
        return TlsSocket(sock)
    family, kind, proto = sock.family, sock.type, sock.proto
    made = _socket.socket(family, kind, proto, sock.detach())
    made.setblocking(False)
    return made


def cooperative(sock: Any) -> Any:
    """Give the system's socket as one that waits in its greenlet; `sock` itself is of no use any more."""
    return GeventSocket(sock.family, sock.type, sock.proto, fileno=sock.detach())
