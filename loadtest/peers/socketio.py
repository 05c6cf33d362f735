"""python-socketio on gevent's WSGI server, transport WebSocket only.

    text message    4 (Engine.IO: message) 2 (Socket.IO: event) ["m","<payload>"]
                    2 (Engine.IO: ping), answered with 3

Source: https://socket.io/docs/v4/engine-io-protocol, https://socket.io/docs/v4/socket-io-protocol
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from loadtest.peers import server, websocket
from loadtest.peers.peer import Data, Frame, Running, Step, behind, number_at

TARGET = "/socket.io/?EIO=4&transport=websocket"
CONNECT = b"40"
JOIN = b'420["join","%s"]'
JOINED = b'430["joined"]'
"""The answer to event 0."""
SAY = b'42["say","%s","%s"]'
HEARD = b'42["m","'
PING, PONG = b"2", b"3"


class SocketIO:
    """loadtest/peers/socketio_server.py."""

    title = "python-socketio (gevent)"
    setting = "rooms, `async_handlers=False` for the order"
    install = "make .venv"

    def version(self) -> str:
        """Give the library's version."""
        try:
            return version("python-socketio")
        except PackageNotFoundError:
            return ""

    def start(self, folder: Path) -> Running:
        """Start it."""
        port = server.free_port()
        return server.start([sys.executable, "-m", "loadtest.peers.socketio_server", str(port)], folder, port)

    def enter(self, number: int, topic: str) -> list[Step]:
        """Open a WebSocket, connect and ask to join; the answer says that all is done."""
        connect, join = websocket.message(CONNECT), websocket.message(JOIN % topic.encode())
        return [
            websocket.open_step(TARGET),
            Step(connect, behind(b'40{"sid":"')),
            Step(join, behind(JOINED)),
        ]

    def enter_publisher(self, topic: str) -> list[Step] | None:
        """The first subscriber publishes."""
        return None

    def publish(self, topic: str, payload: bytes) -> bytes:
        """Have the server emit it to the topic's room."""
        return websocket.message(SAY % (topic.encode(), payload))

    def frame(self, data: Data, start: int) -> Frame | None:
        """Give the next frame; all but our event is Engine.IO's own."""
        found = websocket.part(data, start)
        if found is None:
            return None
        opcode, begin, end = found
        if opcode == websocket.TEXT and not data.startswith(HEARD, begin):
            is_ping = bytes(data[begin:end]) == PING
            return Frame(end, answer=websocket.message(PONG) if is_ping else b"")
        return websocket.frame(data, start, len(HEARD), number_at)
