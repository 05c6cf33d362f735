"""A client without any cleverness: packets over a plain socket, as docs/protocol.md has them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Any

import msgpack

Packet = tuple[str, int, dict[str, Any]]


class Raw:
    """One TCP connection; what is read is kept in `seen`, `welcome` is for whoever logs it in.

    Args:
        address: (host, port) of a gateway.
        timeout: seconds a read may wait.
        source: the client's own address; "" is left to the kernel.
        receive_bytes: what its kernel may hold for it; 0 is left to the kernel.
    """

    def __init__(
        self, address: tuple[str, int], timeout: float = 10.0, source: str = "", receive_bytes: int = 0
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if source:
            self.socket.bind((source, 0))
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.seen: list[Packet] = []
        self.welcome: dict[str, Any] = {}
        self.ended = False
        self._buffer = b""
        self._numbers = count(1)

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket without a word."""
        self.socket.close()

    def write(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.socket.sendall(data)

    def send(self, op: str, body: dict[str, Any], number: int | None = None) -> int:
        """Send a packet; give its number."""
        number = next(self._numbers) if number is None else number
        packet = msgpack.packb([op, number, body])
        self.write(struct.pack(">I", len(packet)) + packet)
        return number

    def read(self) -> Packet | None:
        """Give the next packet; None at the end of the stream.

        Raises:
            TimeoutError: nothing came in time.
        """
        while len(self._buffer) < 4 or len(self._buffer) < 4 + struct.unpack(">I", self._buffer[:4])[0]:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.ended = True
                return None
            self._buffer += data
        end = 4 + struct.unpack(">I", self._buffer[:4])[0]
        op, number, body = msgpack.unpackb(self._buffer[4:end])
        self._buffer = self._buffer[end:]
        self.seen.append((op, number, body))
        return op, number, body

    def wait(self, wanted: Callable[[Packet], bool], seconds: float | None = None) -> Packet:
        """Read on until a packet fits; fails when the stream ends or time is over."""
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"not seen in time; last: {self.seen[-3:]}"
            self.socket.settimeout(left)
            packet = self.read()
            assert packet is not None, f"the stream ended; last: {self.seen[-3:]}"
            if wanted(packet):
                return packet

    def find(self, wanted: Callable[[Packet], bool]) -> Packet:
        """Give the first packet that fits: read already, or still to come."""
        return next((packet for packet in self.seen if wanted(packet)), None) or self.wait(wanted)

    def wait_op(self, op: str, seconds: float | None = None) -> dict[str, Any]:
        """Read on until this op comes; give its body."""
        return self.wait(lambda packet: packet[0] == op, seconds)[2]

    def request(self, op: str, body: dict[str, Any], seconds: float | None = None) -> Packet:
        """Send and give the reply: ok, error or pong."""
        number = self.send(op, body)
        return self.wait(lambda packet: packet[1] == number, seconds)

    def ok(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send and give the body of `ok`; fails on an error."""
        reply = self.request(op, body)
        assert reply[0] == "ok", reply
        return reply[2]

    def error(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send and give the body of `error`; fails on an ok."""
        reply = self.request(op, body)
        assert reply[0] == "error", reply
        return reply[2]

    def hello(self, token: str, device: str = "raw", **fields: Any) -> dict[str, Any]:
        """Log in; give the welcome."""
        return self.ok("hello", {"v": 1, "token": token, "device": device, **fields})

    def wait_end(self, seconds: float | None = None) -> None:
        """Read on until the stream ends."""
        deadline = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not self.ended:
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            self.read()
