"""A socket that was told to go: its last words are written, what it sends is thrown away.

Closing at once would make the kernel send a reset when unread data is there, and the
client would lose the `kick` that says why.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import Any

from gevent import get_hub

READABLE, WRITABLE = 1, 2
SECONDS = 2.0
"""How long it may take before it is cut."""
DISCARD_BYTES = 65_536
DISCARDS = 8
"""Reads in one loop turn: who floods to the last must not hold up the others."""


class Linger:
    """One socket on its way out.

    Args:
        sock: non-blocking; closed at the end in any case.
        words: what is still to be written.
        ended: called with this once it is over.
    """

    __slots__ = ("_ended", "_io", "_sock", "_words")

    def __init__(self, sock: Any, words: bytes, ended: Callable[[Linger], None]) -> None:
        self._sock = sock
        self._words = words
        self._ended = ended
        self._io: Any = get_hub().loop.io(sock.fileno(), READABLE | WRITABLE)
        self._io.start(self.step)

    def step(self) -> None:
        """Write on and throw away what came; called by the loop, and once at the beginning."""
        try:
            if self._io.events & WRITABLE:
                self._write()
            for _ in range(DISCARDS):
                if not self._sock.recv(DISCARD_BYTES):
                    self.cut()
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.cut()

    def _write(self) -> None:
        """Write on; after the last word say that there are no more, and only listen."""
        if self._words:
            try:
                sent = self._sock.send(self._words)
            except BlockingIOError:
                return
            self._words = self._words[sent:]
        if not self._words:
            self._sock.shutdown(_socket.SHUT_WR)
            self._io.stop()
            self._io.close()
            self._io = get_hub().loop.io(self._sock.fileno(), READABLE)
            self._io.start(self.step)

    def cut(self) -> None:
        """Close now."""
        if self._sock is None:
            return
        self._io.stop()
        self._io.close()
        self._sock.close()
        self._sock = None
        self._ended(self)
