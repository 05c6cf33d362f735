"""A server of a few lines that speaks NATS' protocol and can be told to do wrong."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import gevent

from loadtest.peers.peer import number_at

Rule = Callable[[int, int], int]
"""(number of a subscriber, number of a message) -> how often that is written; -1: it is hung up on."""


class Scripted:
    """Listens on a free port; subscribers are numbered from 0 as they come, in all subjects together."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._subscribers: list[tuple[bytes, socket.socket]] = []
        self._tasks = [gevent.spawn(self._accept)]

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            self._tasks.append(gevent.spawn(self._serve, sock))

    def _serve(self, sock: socket.socket) -> None:
        with sock, suppress(OSError), sock.makefile("rb") as lines:
            for line in lines:
                words = line.split()
                if words[0] == b"SUB":
                    self._subscribers.append((words[1], sock))
                elif words[0] == b"PING":
                    sock.sendall(b"PONG\r\n")
                elif words[0] == b"PUB":
                    self._publish(words[1], lines.read(int(words[2]) + 2)[:-2])

    def _publish(self, subject: bytes, payload: bytes) -> None:
        frame = b"MSG %s 1 %d\r\n%s\r\n" % (subject, len(payload), payload)
        for number, (theirs, sock) in enumerate(self._subscribers):
            times = self._rule(number, number_at(payload, 0)) if theirs == subject else 0
            with suppress(OSError):
                if times < 0:
                    sock.shutdown(socket.SHUT_RDWR)
                else:
                    sock.sendall(frame * times)

    def close(self) -> None:
        """End."""
        gevent.killall(self._tasks)
        self._listener.close()
