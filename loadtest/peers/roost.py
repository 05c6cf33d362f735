"""Roost itself: its cluster as it comes but with one gateway, by TCP frames.

    frame      u32 length of the rest, msgpack [op, id, body]

A topic is a room in memory; who publishes is a member of it.

Source: docs/protocol.md
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgpack

from loadtest.flock.packets import HELLO, JOIN, packet
from loadtest.flock.tokens import Signer
from loadtest.peers.peer import Data, Frame, Running, Step, number_at

HEAD = 4
DAY = 86_400
PRODUCT = "bench"
UNANSWERED = 0
"""The id of a request that wants no reply."""
READY_SECONDS = 60.0


class Roost:
    """A cluster.

    Args:
        token_key: what the clients' tokens are signed with.
    """

    title = "Roost"
    setting = "1 gateway, else the default processes; one client's rate limits raised"
    install = "make .venv"

    def __init__(self, token_key: str = "") -> None:
        self._signer = Signer(token_key, PRODUCT, int(time.time()) + DAY)

    def version(self) -> str:
        """Give the commit."""
        from loadtest.bench.machine import facts

        machine = facts()
        changed = f" and {machine['changed_files']} changed files" if machine["changed_files"] else ""
        return f"{machine['commit'] or 'unknown'}{changed}"

    def start(self, folder: Path) -> Running:
        """Start a cluster; it has a folder of its own, the logs are copied into this one at its end."""
        from loadtest.bench.clusters import OPEN
        from loadtest.c1000k.sampling import Sampler
        from tests.cluster.cluster import Cluster
        from tools.control import Supervisor

        cluster = Cluster({"cluster.gateways": 1} | OPEN)

        def stop() -> None:
            (folder / "server.log").write_text(cluster.log_ends())
            cluster.stop()

        try:
            cluster.wait_ready(READY_SECONDS)
        except AssertionError as error:
            stop()
            raise RuntimeError(str(error)) from error
        pids = Sampler(cluster).pids() | {"supervisord-0": Supervisor(cluster.run_dir).pid() or 0}
        options = {"token_key": cluster.secrets.token_key}
        return Running(cluster.places.tcp_port(0), pids, stop, options)

    def enter(self, number: int, topic: str) -> list[Step]:
        """Log in and join."""
        token = self._signer.token(f"u{number}")
        hello = packet("hello", HELLO, {"v": 1, "device": "d", "token": token})
        return [Step(hello + packet("join", JOIN, {"room": _room(topic)}), self._joined)]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """The first member publishes."""
        return None

    def _joined(self, data: bytes) -> int:
        """Give the end of the answer to `join`."""
        start = 0
        while (found := _packet(data, start)) is not None:
            start, (op, number, body) = found
            if op == "ok" and number == JOIN:
                return start
            if op in ("error", "kick"):
                raise ConnectionError(f"{op} {body}")
        return 0

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Publish; an answer comes only when it fails."""
        return packet("publish", UNANSWERED, {"room": _room(topic), "data": payload.decode()})

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next packet."""
        found = _packet(data, start)
        if found is None:
            return None
        end, (op, _number, body) = found
        if op == "message":
            return Frame(end, number_at(body["data"].encode(), 0))
        return Frame(end, refusal=f"{op} {body}" if op in ("error", "kick", "gap") else "")


def _room(topic: str) -> str:
    return f"plaza/{topic}"


def _packet(data: Data, start: int) -> tuple[int, Any] | None:
    begin = start + HEAD
    end = begin + int.from_bytes(data[start:begin])
    if begin > len(data) or end > len(data):
        return None
    return end, msgpack.unpackb(bytes(data[begin:end]))
