"""What stands between a client of a flock and its socket, on each carrier but plain TCP.

    json, msgpack   a WebSocket with that subprotocol
    poll            a session of requests on one connection, of which one always waits
    sse             the same, whose last request is a stream of events

Each makes of whole TCP frames what its carrier writes, and of what comes TCP frames again,
so that whatever counts them is the same for all. No I/O.

Source: docs/protocol.md, sections 2 and 7.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import msgpack

from common.wire.framing import CLIENT_LIMIT, cut, frame

TEXT, BINARY, CLOSE = 1, 2, 8
FIN, MASKED = 0x80, 0x80
NO_MASK = bytes(4)
"""A mask that changes nothing."""
WAIT = 25
"""Seconds a poll waits, the most there is."""


class Refused(ConnectionError):
    """The server answers something else than was asked for."""


class Wire(Protocol):
    """One client's carrier."""

    def begin(self, frames: bytes) -> bytes:
        """Give what to write first; `frames`, the `hello` and what follows it, go out when it is time."""

    def wrap(self, frames: bytes) -> bytes:
        """Give what to write for some whole TCP frames."""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes, cut anywhere; give whole TCP frames, and what to write now.

        Raises:
            Refused: nothing more will come.
        """


class WebSocketWire:
    """Packets as messages.

    Args:
        text: JSON; else msgpack.
    """

    __slots__ = ("_first", "_rest", "_text")

    def __init__(self, text: bool) -> None:
        self._text = text
        self._first = b""
        self._rest = b""

    def begin(self, frames: bytes) -> bytes:
        """Give the opening; the frames go out when it is answered."""
        self._first = frames
        return (
            b"GET /ws HTTP/1.1\r\nHost: swarm\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dhcm0tb2YtY2xpZW50cw==\r\n"
            b"Sec-WebSocket-Protocol: roost.v1.%s\r\n\r\n" % (b"json" if self._text else b"msgpack")
        )

    def wrap(self, frames: bytes) -> bytes:
        """Give a message for each frame."""
        return b"".join(map(self._message, _bodies(frames)))

    def _message(self, body: bytes) -> bytes:
        payload = json.dumps(msgpack.unpackb(body)).encode() if self._text else body
        size = len(payload)
        head = bytes((FIN | (TEXT if self._text else BINARY), MASKED | min(size, 126)))
        return head + (size.to_bytes(2) if size >= 126 else b"") + NO_MASK + payload

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes; the opening's answer first."""
        data, self._rest = self._rest + data, b""
        answer = b""
        if self._first:
            head, found, behind = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return b"", b""
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Refused(head.partition(b"\r\n")[0].decode("latin-1"))
            answer, self._first, data = self.wrap(self._first), b"", behind
        return self._frames(data), answer

    def _frames(self, data: bytes) -> bytes:
        frames = []
        start = 0
        while len(data) - start >= 2:
            size, head = data[start + 1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(data[start + 2 : start + head])
            end = start + head + size
            if end > len(data) or len(data) - start < head:
                break
            payload, opcode = data[start + head : end], data[start] & 0x0F
            if opcode == CLOSE:
                raise Refused(f"closed with {int.from_bytes(payload[:2])}")
            if opcode in (TEXT, BINARY):
                frames.append(_frame(json.loads(payload)) if self._text else frame(payload))
            start = end
        self._rest = data[start:]
        return b"".join(frames)


class RequestWire:
    """A session: opened by the first frame, the others posted behind it.

    Args:
        events: what comes is read as a stream of events; else by polls.
    """

    __slots__ = ("_cursor", "_events", "_first", "_rest", "_sid", "_streaming")

    def __init__(self, events: bool) -> None:
        self._events = events
        self._first: list[list[Any]] = []
        self._rest = b""
        self._sid = ""
        self._cursor = 0
        self._streaming = False

    def begin(self, frames: bytes) -> bytes:
        """Open the session."""
        self._first = [msgpack.unpackb(body) for body in _bodies(frames)]
        return _post("/poll/open", self._first[0][2])

    def wrap(self, frames: bytes) -> bytes:
        """Refuse: its one connection is busy with waiting for packets."""
        raise Refused("this carrier only logs in and listens")

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take answers, and ask on."""
        self._rest += data
        frames = answer = b""
        while not self._streaming:
            head, found, behind = self._rest.partition(b"\r\n\r\n")
            if not found:
                return frames, answer
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            size = int(headers.get("content-length", 0))
            if len(behind) < size:
                return frames, answer
            self._rest = behind[size:]
            if not lines[0].startswith("HTTP/1.1 200 "):
                raise Refused(f"{lines[0]} {behind[:size].decode()}")
            self._streaming = "event-stream" in headers["content-type"]
            if not self._streaming:
                frames += self._page(json.loads(behind[:size]))
                answer = self._next()
        return frames + self._read_events(), answer

    def _page(self, page: dict[str, Any]) -> bytes:
        if not self._sid:
            self._sid = page["sid"]
            return _frame(["ok", self._first.pop(0)[1], page["welcome"]])
        self._cursor = page["cursor"]
        return b"".join(map(_frame, page["packets"]))

    def _next(self) -> bytes:
        target = f"sid={self._sid}&cursor={self._cursor}"
        first, self._first = self._first, []
        if first:
            return _post(f"/poll?{target}&n=1", first)
        if self._events:
            return f"GET /sse?{target} HTTP/1.1\r\nHost: swarm\r\n\r\n".encode()
        return _post(f"/poll?{target}&wait={WAIT}", None)

    def _read_events(self) -> bytes:
        *events, self._rest = self._rest.split(b"\n\n")
        lines = (line for event in events for line in event.split(b"\n"))
        return b"".join(_frame(json.loads(line[6:])) for line in lines if line.startswith(b"data: "))


def _bodies(frames: bytes) -> list[bytes]:
    return cut(frames, CLIENT_LIMIT)[0]


def _frame(packet: list[Any]) -> bytes:
    return frame(msgpack.packb(packet))


def _post(target: str, value: Any) -> bytes:
    body = b"" if value is None else json.dumps(value).encode()
    return b"POST %s HTTP/1.1\r\nHost: swarm\r\nContent-Length: %d\r\n\r\n%s" % (
        target.encode(),
        len(body),
        body,
    )


WIRES: dict[str, Any] = {
    "json": lambda: WebSocketWire(text=True),
    "msgpack": lambda: WebSocketWire(text=False),
    "poll": lambda: RequestWire(events=False),
    "sse": lambda: RequestWire(events=True),
}
"""carrier -> what makes a client's wire; "tcp" needs none."""
