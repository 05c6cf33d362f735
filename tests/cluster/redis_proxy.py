"""Stands between a cluster and its Redis, and kills a client of it between a write and its answer."""

from __future__ import annotations

import os
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.server import StreamServer

READ_BYTES = 65_536


class RedisProxy:
    """Passes everything on, until armed.

    Args:
        socket_path: where it listens. upstream: the socket of Redis.

    Attributes:
        url: of it, as `redis.url` takes it.
        killed: pids of clients killed so far.
    """

    def __init__(self, socket_path: Path, upstream: Path) -> None:
        self.url = f"unix://{socket_path}"
        self.killed: list[int] = []
        self._upstream = str(upstream)
        self._wanted = b""
        self._done = Event()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(socket_path))
        listener.listen(64)
        self._server = StreamServer(listener, self._serve)
        self._server.start()

    def arm(self, words: bytes) -> None:
        """Kill the client whose request has these bytes, once Redis has answered it."""
        self._done.clear()
        self._wanted = words

    def wait(self, seconds: float = 10.0) -> int:
        """Wait until that has happened; give the pid that was killed."""
        assert self._done.wait(seconds), "no such request came"
        return self.killed[-1]

    def _serve(self, client: Any, _address: Any) -> None:
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(self._upstream)
        answers = gevent.spawn(self._answers, client, upstream)
        try:
            while data := client.recv(READ_BYTES):
                if self._wanted and self._wanted in data:
                    self._wanted = b""
                    answers.kill()
                    upstream.sendall(data)
                    self._strike(client, upstream)
                    return
                upstream.sendall(data)
        except OSError:
            pass
        finally:
            answers.kill()
            upstream.close()
            client.close()

    def _answers(self, client: Any, upstream: Any) -> None:
        try:
            while data := upstream.recv(READ_BYTES):
                client.sendall(data)
        except OSError:
            pass

    def _strike(self, client: Any, upstream: Any) -> None:
        """Wait for the answer, so that what was asked is done; then nobody is there to hear it."""
        assert upstream.recv(READ_BYTES)
        pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        os.kill(pid, signal.SIGKILL)
        self.killed.append(pid)
        self._done.set()

    def close(self) -> None:
        """Stop passing anything on."""
        self._server.stop(timeout=1)
