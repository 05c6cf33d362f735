"""A plain server of some forty lines over asyncio and the `websockets` library: what one begins with."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

from loadtest.peers import server, websocket
from loadtest.peers.peer import Data, Frame, Running, Step, behind, number_at

READY = "ready"
"""What the server says when a client hears its topic."""


class Websockets:
    """loadtest/peers/websockets_server.py."""

    title = "websockets (asyncio)"
    setting = "`broadcast()`, no compression"
    install = "make .venv"

    def version(self) -> str:
        """Give the library's version; it is always here, the gateway needs it too."""
        return version("websockets")

    def start(self, folder: Path) -> Running:
        """Start it."""
        port = server.free_port()
        return server.start(
            [sys.executable, "-m", "loadtest.peers.websockets_server", str(port)], folder, port
        )

    def enter(self, number: int, topic: str) -> list[Step]:
        """Open a WebSocket at the topic's address."""
        ready = Step(b"", behind(websocket.server_message(READY.encode())))
        return [websocket.open_step(f"/{topic}"), ready]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """The first subscriber publishes."""
        return None

    def publish(self, topic: str, payload: bytes) -> bytes:
        """What a client says, all of its topic hear."""
        return websocket.message(payload)

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next frame; a message is its payload."""
        return websocket.frame(data, start, 0, number_at)
