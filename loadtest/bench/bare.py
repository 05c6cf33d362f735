"""The ceilings: servers that do nothing but move bytes, in a process of their own.

    python -m loadtest.bench.bare '{"count": …}'

Holds `count` connections, each one an io watcher and a socket. Prints its port when it
listens, and a line when all are there. With `echo` it sends back what comes; otherwise
a byte from any client makes it send one room message, as a gateway would write it, to
each, one after the other.
"""

from __future__ import annotations

import _socket
import json
import sys
from typing import Any

from gevent import get_hub

from common.wire.codec import message_frame, pack

READABLE = 1
OFFSET = 1000
"""As long on the wire as the offsets of the messages it is compared with."""


class Bare:
    """The sockets of a bare server."""

    def __init__(self, count: int, bytes: int = 0, echo: bool = False) -> None:
        self._count = count
        self._payload = message_frame("plaza/bench.0", OFFSET, "u0", pack("x" * bytes), 1_700_000_000_000)
        self._heard = self._echo if echo else self._send_all
        self._held: list[tuple[Any, Any]] = []
        self._sends: list[Any] = []
        self._listener: Any = _socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(4096)
        self._listener.setblocking(False)
        self._say({"port": self._listener.getsockname()[1]})
        self._accepting = get_hub().loop.io(self._listener.fileno(), READABLE)
        self._accepting.start(self._accept)
        self._orders = get_hub().loop.io(sys.stdin.fileno(), READABLE)
        self._orders.start(self._ended)

    def _say(self, words: dict[str, Any]) -> None:
        print(json.dumps(words), flush=True)

    def _ended(self) -> None:
        """Stdin has ended: so does this process."""
        sys.exit()

    def _accept(self) -> None:
        try:
            descriptor, _address = self._listener._accept()
        except BlockingIOError:
            return
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
        sock.setblocking(False)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        io = get_hub().loop.io(descriptor, READABLE)
        io.start(self._heard, sock)
        self._held.append((sock, io))
        self._sends.append(sock.send)
        if len(self._held) == self._count:
            self._say({"held": self._count})

    def _echo(self, sock: Any) -> None:
        try:
            data = sock.recv(4096)
        except OSError:
            data = b""
        if data:
            sock.send(data)
        else:
            self._drop(sock)

    def _send_all(self, sock: Any) -> None:
        if not sock.recv(4096):
            self._drop(sock)
            return
        payload = self._payload
        for send in self._sends:
            send(payload)

    def _drop(self, sock: Any) -> None:
        for held, io in self._held:
            if held is sock:
                io.stop()
                io.close()
                held.close()


if __name__ == "__main__":
    bare = Bare(**json.loads(sys.argv[1]))
    get_hub().join()
