"""A gateway of a few lines: answers `hello` and `join`, remembers what it heard, and closes when told."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import gevent

from common.wire.codec import decode, encode
from common.wire.framing import cut


class Scripted:
    """Listens on a free port.

    Attributes:
        heard: packets, in the order they came.
        socks: connections, in that order too.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[Any] = []
        self.socks: list[socket.socket] = []
        self._tasks = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self.socks.append(sock)
            self._tasks.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        rest = b""
        with sock, suppress(OSError):
            while data := sock.recv(65_536):
                bodies, rest = cut(rest + data, 65_536)
                for body in bodies:
                    self._answer(sock, decode(body))

    def _answer(self, sock: socket.socket, packet: Any) -> None:
        self.heard.append(packet)
        if packet.op == "hello":
            sock.sendall(encode("ok", packet.id, {"resume": f"resume of {packet.body['device']}"}))
        elif packet.op == "join":
            body = {"room": packet.body["room"], "epoch": 7, "offset": 0, "messages": [], "more": False}
            sock.sendall(encode("ok", packet.id, body))
        elif packet.op == "ping":
            sock.sendall(encode("pong", packet.id, {}))

    def say(self, frame: bytes) -> None:
        """Write to everybody."""
        for sock in self.socks:
            sock.sendall(frame)

    def hang_up(self) -> None:
        """Close all connections."""
        for sock in self.socks:
            sock.shutdown(socket.SHUT_RDWR)
        self.socks = []

    def close(self) -> None:
        """End."""
        gevent.killall(self._tasks)
        self._listener.close()
        for sock in self.socks:
            sock.close()
