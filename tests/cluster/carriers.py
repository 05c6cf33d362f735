"""Clients on every carrier, as docs/protocol.md has them, without any cleverness.

Each has `send(op, body)`, `read()` and `close()` like `Raw`, so one test can use any.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections import deque
from itertools import count
from types import TracebackType
from typing import Any

from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.cluster.raw import Packet, Raw

Address = tuple[str, int]
SECONDS = 20.0


class Carrier:
    """What all of them share: numbers, and waiting for a reply."""

    welcome: dict[str, Any]

    def __init__(self) -> None:
        self._numbers = count(1)
        self.seen: list[Packet] = []

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> Packet:
        """Give the next packet."""
        raise NotImplementedError

    def write(self, packet: list[Any]) -> None:
        """Send a packet."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave without a word."""

    def send(self, op: str, body: dict[str, Any]) -> int:
        """Send a packet; give its number."""
        number = next(self._numbers)
        self.write([op, number, body])
        return number

    def ok(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send and give the body of `ok`; fails on an error. What comes before it is in `seen`."""
        number = self.send(op, body)
        while True:
            packet = self.read()
            if packet[1] == number:
                assert packet[0] == "ok", packet
                return packet[2]


class WebSocket(Carrier):
    """A WebSocket by the `websockets` package.

    Args:
        hello: the body of its hello.
        subprotocol: roost.v1.json, with JSON here, or none.
    """

    def __init__(self, address: Address, hello: dict[str, Any], subprotocol: str = "roost.v1.json") -> None:
        super().__init__()
        protocols = [Subprotocol(subprotocol)] if subprotocol else None
        self._socket = connect(
            f"ws://{address[0]}:{address[1]}/ws", subprotocols=protocols, legacy=True, open_timeout=SECONDS
        )
        self.welcome = self.ok("hello", hello)

    def write(self, packet: list[Any]) -> None:
        self._socket.send(json.dumps(packet))

    def read(self) -> Packet:
        op, number, body = json.loads(self._socket.recv(SECONDS))
        self.seen.append((op, number, body))
        return op, number, body

    def close(self) -> None:
        self._socket.close()


def ask(address: Address, method: str, target: str, body: Any = None) -> tuple[int, bytes]:
    """Send one request on a connection of its own; give (status, body)."""
    connection = http.client.HTTPConnection(*address, timeout=SECONDS * 2)
    try:
        connection.request(method, target, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Session(Carrier):
    """A session of requests: the part that polling and events share."""

    def __init__(self, address: Address, hello: dict[str, Any]) -> None:
        super().__init__()
        self.address = address
        status, body = ask(address, "POST", "/poll/open", hello)
        assert status == 200, body
        answer = json.loads(body)
        self.sid, self.welcome = answer["sid"], answer["welcome"]
        self.cursor = 0
        self._sent = 0

    def target(self, wait: int) -> str:
        """Give the target of its next request."""
        return f"/poll?sid={self.sid}&cursor={self.cursor}&n={self._sent + 1}&wait={wait}"

    def close(self) -> None:
        ask(self.address, "POST", f"/poll/close?sid={self.sid}")


class Polling(Session):
    """Long polling."""

    def __init__(self, address: Address, hello: dict[str, Any]) -> None:
        super().__init__(address, hello)
        self._waiting: deque[Packet] = deque()

    def write(self, packet: list[Any]) -> None:
        self._post([packet], 0)
        self._sent += 1

    def read(self) -> Packet:
        while not self._waiting:
            self._post(None, 20)
        packet = self._waiting.popleft()
        self.seen.append(packet)
        return packet

    def _post(self, packets: list[Any] | None, wait: int) -> None:
        status, body = ask(self.address, "POST", self.target(wait), packets)
        assert status == 200, (status, body)
        self.take(json.loads(body))

    def take(self, page: dict[str, Any]) -> None:
        """Take an answer: what is new in it."""
        first = page["cursor"] - len(page["packets"])
        for place, packet in enumerate(page["packets"], first + 1):
            if place > self.cursor:
                self.cursor = place
                self._waiting.append(tuple(packet))


class Curl(Polling):
    """Long polling by the curl program, one process for each request."""

    def _post(self, packets: list[Any] | None, wait: int) -> None:
        url = "http://{}:{}{}".format(*self.address, self.target(wait))
        data = json.dumps(packets) if packets else ""
        command = ["curl", "-sS", "--max-time", "40", "--data-binary", data, url]
        self.take(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


class Events(Session):
    """Server-sent events, and POSTs beside them."""

    def __init__(self, address: Address, hello: dict[str, Any]) -> None:
        super().__init__(address, hello)
        self._connection = http.client.HTTPConnection(*address, timeout=SECONDS)
        self._connection.request("GET", f"/sse?sid={self.sid}&cursor=0")
        self._stream = self._connection.getresponse()
        assert self._stream.status == 200
        self._confirmed = 0

    def write(self, packet: list[Any]) -> None:
        status, body = ask(self.address, "POST", self.target(0), [packet])
        assert (status, json.loads(body)["packets"]) == (200, []), body
        self._sent += 1

    def read(self) -> Packet:
        number, packet = 0, None
        while packet is None or not number:
            line = self._stream.readline()
            assert line, "the stream ended"
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                number = int(value)
            elif name == "data":
                packet = json.loads(value)
        assert number == self.cursor + 1
        self.cursor = number
        if self.cursor - self._confirmed >= 200:
            self._confirmed = self.cursor
            ask(self.address, "POST", self.target(0))
        op, request, body = packet
        self.seen.append((op, request, body))
        return op, request, body

    def close(self) -> None:
        self._connection.close()
        super().close()


class Browser:
    """Headless Chromium, driven through chromedriver.

    Source: W3C WebDriver, sections 8 to 13.
    """

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        command = ["chromedriver", "--port=0", "--log-level=WARNING"]
        self._driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._driver.stdout is not None
        port = ""
        while "started successfully on port" not in port:
            port = self._driver.stdout.readline()
            assert port, "chromedriver did not start"
        threading.Thread(target=self._driver.stdout.read, daemon=True).start()
        self._address = ("127.0.0.1", int(port.rstrip().rstrip(".").rpartition(" ")[2]))
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options.append(f"--window-size={width},{height}")
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": options, "binary": "/usr/bin/chromium"}}}
        self._session = self._call("POST", "", {"capabilities": wanted}, whole=True)["sessionId"]

    def _call(self, method: str, path: str, body: Any = None, whole: bool = False) -> Any:
        target = "/session" if whole else f"/session/{self._session}{path}"
        connection = http.client.HTTPConnection(*self._address, timeout=60)
        try:
            connection.request(method, target, None if method != "POST" else json.dumps(body or {}))
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def open(self, url: str) -> None:
        """Go to a page; returns when it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *args: Any) -> Any:
        """Run JavaScript (`return …`) and give its value."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def new_window(self) -> str:
        """Open another window and go to it; give its handle."""
        handle: str = self._call("POST", "/window/new", {"type": "window"})["handle"]
        self.switch(handle)
        return handle

    def window(self) -> str:
        """Give the handle of the present window."""
        handle: str = self._call("GET", "/window")
        return handle

    def switch(self, handle: str) -> None:
        """Go to another window."""
        self._call("POST", "/window", {"handle": handle})

    def screenshot(self) -> str:
        """Give a picture of the page, PNG in base64."""
        picture: str = self._call("GET", "/screenshot")
        return picture

    def close(self) -> None:
        """End the browser."""
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)


__all__ = ["Browser", "Carrier", "Curl", "Events", "Polling", "Raw", "WebSocket", "ask"]
