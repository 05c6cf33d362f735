"""Clients on every carrier, as docs/protocol.md has them, without any cleverness.

Each has `send(op, body)`, `read()` and `close()` like `Raw`, so one test can use any.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import subprocess
import threading
from collections import deque
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

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


class WebSocketEnd:
    """A client's end by the `websockets` package, opened; over a socket that waits in its greenlet.

    Args:
        options: as ClientProtocol takes them.
    """

    def __init__(self, address: Address, path: str, **options: Any) -> None:
        self.protocol = ClientProtocol(parse_uri(f"ws://{address[0]}:{address[1]}{path}"), **options)
        self.socket = socket.create_connection(address, SECONDS)
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        while self.protocol.state is State.CONNECTING:
            self.receive()
        assert self.protocol.handshake_exc is None, self.protocol.handshake_exc

    def flush(self) -> None:
        """Write what the protocol has to say."""
        for data in self.protocol.data_to_send():
            if data:
                self.socket.sendall(data)

    def receive(self) -> list[Frame]:
        """Read once; give the frames that came."""
        data = self.socket.recv(65_536)
        if not data:
            self.protocol.receive_eof()
            raise AssertionError(f"the stream ended: {self.protocol.close_rcvd}")
        self.protocol.receive_data(data)
        return [event for event in self.protocol.events_received() if isinstance(event, Frame)]


class WebSocket(Carrier):
    """Packets in JSON on a WebSocket.

    Args:
        hello: the body of its hello.
        subprotocol: roost.v1.json, or none.
    """

    def __init__(self, address: Address, hello: dict[str, Any], subprotocol: str = "roost.v1.json") -> None:
        super().__init__()
        self._texts: deque[str] = deque()
        protocols = [Subprotocol(subprotocol)] if subprotocol else None
        self._end = WebSocketEnd(address, "/ws", subprotocols=protocols)
        self.welcome = self.ok("hello", hello)

    def write(self, packet: list[Any]) -> None:
        self._end.protocol.send_text(json.dumps(packet).encode())
        self._end.flush()

    def read(self) -> Packet:
        while not self._texts:
            frames = self._end.receive()
            self._texts += [bytes(one.data).decode() for one in frames if one.opcode is Opcode.TEXT]
            self._end.flush()
        op, number, body = json.loads(self._texts.popleft())
        self.seen.append((op, number, body))
        return op, number, body

    def close(self) -> None:
        self._end.socket.close()


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
        self.n = 0

    def target(self, n: int, wait: int) -> str:
        """Give the target of a request whose first packet has this number."""
        return f"/poll?sid={self.sid}&cursor={self.cursor}&n={max(1, n)}&wait={wait}"

    def close(self) -> None:
        ask(self.address, "POST", f"/poll/close?sid={self.sid}")


class Polling(Session):
    """Long polling."""

    def __init__(self, address: Address, hello: dict[str, Any]) -> None:
        super().__init__(address, hello)
        self._waiting: deque[Packet] = deque()
        self._last: list[Any] = []

    def write(self, packet: list[Any]) -> None:
        self.post(self.n + 1, [packet])
        self.n += 1
        self._last = packet

    def repeat(self, cut: bool = False) -> None:
        """Send the last packet again, as after an answer that was lost.

        Args:
            cut: first a request that ends in the middle.
        """
        if cut:
            body = json.dumps([self._last]).encode()
            head = f"POST {self.target(self.n, 0)} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection(self.address, SECONDS) as half:
                half.sendall(head.encode() + body[:-5])
        self.post(self.n, [self._last])

    def read(self) -> Packet:
        while not self._waiting:
            self.post(self.n, None, 20)
        packet = self._waiting.popleft()
        self.seen.append(packet)
        return packet

    def post(self, n: int, packets: list[Any] | None, wait: int = 0) -> None:
        """Poll, and take what comes."""
        status, body = ask(self.address, "POST", self.target(n, wait), packets)
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

    def post(self, n: int, packets: list[Any] | None, wait: int = 0) -> None:
        url = "http://{}:{}{}".format(*self.address, self.target(n, wait))
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
        status, body = ask(self.address, "POST", self.target(self.n + 1, 0), [packet])
        assert (status, json.loads(body)["packets"]) == (200, []), body
        self.n += 1

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
            ask(self.address, "POST", self.target(self.n, 0))
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


class Window:
    """One window of a browser, with a page in it.

    Args:
        pictures: folder for pictures of it.
    """

    def __init__(self, browser: Browser, address: str, pictures: Path) -> None:
        self._browser = browser
        self._pictures = pictures
        self._window = browser.new_window()
        browser.open(address)

    def run(self, script: str, *args: object) -> Any:
        """Run JavaScript in it."""
        self._browser.switch(self._window)
        return self._browser.run(script, *args)

    def text(self, element: str) -> str:
        """Give what a reader sees of an element."""
        return str(self.run("return document.getElementById(arguments[0]).innerText", element))

    def shows(self, element: str) -> bool:
        """Tell whether an element can be seen."""
        return bool(self.run("return document.getElementById(arguments[0]).checkVisibility()", element))

    def picture(self, name: str) -> None:
        """Keep a picture of the page."""
        self._browser.switch(self._window)
        self._pictures.mkdir(parents=True, exist_ok=True)
        (self._pictures / f"{name}.png").write_bytes(base64.b64decode(self._browser.screenshot()))
