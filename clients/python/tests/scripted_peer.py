"""A server of one test: it accepts on loopback and says exactly what the test says."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgpack

Result = TypeVar("Result")
PATIENCE = 5.0  # seconds a test waits before it fails

WELCOME: dict[str, Any] = {
    "v": 1,
    "uid": "alice",
    "product": "demo",
    "device": "laptop",
    "session": "s-1",
    "gateway": "gateway-0",
    "ping": 30,
    "resume": "resume-1",
    "exp": 4102444800000,
    "retry": {"base": 0.01, "factor": 1.0, "max": 0.01},
    "inbox": {"seq": 0, "bseq": 0, "gap": False},
    "time": 1700000000000,
}


def frame(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give the bytes of one packet."""
    packed = msgpack.packb([op, number, body])
    return struct.pack(">I", len(packed)) + bytes(packed)


class Conversation:
    """One accepted connection, driven by the test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)

    def read(self) -> tuple[str, int, dict[str, Any]]:
        """Give the next packet of the client; fails at the end of the stream."""
        (length,) = struct.unpack(">I", self._exactly(4))
        op, number, body = msgpack.unpackb(self._exactly(length))
        return op, number, body

    def expect(self, op: str) -> tuple[int, dict[str, Any]]:
        """Give number and body of the next packet, which has to be this op."""
        got, number, body = self.read()
        assert got == op, f"expected {op}, got {got} {body}"
        return number, body

    def push(self, op: str, body: dict[str, Any], number: int = 0) -> None:
        """Send a packet."""
        self.sock.sendall(frame(op, number, body))

    def answer(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        """Wait for this op and answer ok; give what was asked."""
        number, asked = self.expect(op)
        self.push("ok", body, number)
        return asked

    def refuse(self, op: str, code: str, retry: bool = False, **facts: Any) -> dict[str, Any]:
        """Wait for this op and answer with an error; give what was asked."""
        number, asked = self.expect(op)
        self.push("error", {"code": code, "message": "no", "retry": retry, **facts}, number)
        return asked

    def welcome(self, **changes: Any) -> dict[str, Any]:
        """Wait for hello and welcome the client; give its hello."""
        return self.answer("hello", {**WELCOME, **changes})

    def message(self, offset: int, room: str = "plaza/lobby") -> None:
        """Push one message whose data is its offset."""
        self.push("message", message(offset, room))

    def kick(self, code: str, reconnect: bool) -> None:
        """Kick and close."""
        self.push("kick", {"code": code, "reason": "because", "reconnect": reconnect})
        self.close()

    def ended(self) -> bool:
        """Did the client close? Waits for it; packets before the end are dropped."""
        while chunk := self.sock.recv(65536):
            assert chunk
        return True

    def close(self) -> None:
        self.sock.close()

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            chunk = self.sock.recv(size - len(found))
            assert chunk, "the client closed"
            found += chunk
        return found


class Peer:
    """Listens on a free port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._conversations: list[Conversation] = []

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def accept(self) -> Conversation:
        """Wait for the next connection."""
        sock, _address = self._listener.accept()
        conversation = Conversation(sock)
        self._conversations.append(conversation)
        return conversation

    def nobody_else_came(self) -> bool:
        """Is nobody waiting to be accepted?"""
        self._listener.settimeout(0.03)
        try:
            self.accept()
        except TimeoutError:
            return True
        return False

    def stop_listening(self) -> None:
        """Refuse from now on."""
        self._listener.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for conversation in self._conversations:
            conversation.close()


class Background(Generic[Result]):
    """Runs one call in a thread, while the test plays the server."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._result: Result | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._call()
        except Exception as error:  # noqa: BLE001 - result() raises it
            self._error = error

    def result(self) -> Result:
        """Wait for the call to end; give its result or raise its error."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the call does not end"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def message(offset: int, room: str = "plaza/lobby") -> dict[str, Any]:
    """Give a message body whose data is its offset."""
    return {"room": room, "offset": offset, "uid": "bob", "data": offset, "time": 1}
