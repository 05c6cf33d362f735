"""A gateway without other processes: real connections over socket pairs, links that only remember."""

from __future__ import annotations

import _socket
import socket as sockets
import struct
import time
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import gevent
import msgpack
from gevent.event import Event

from common.keys import Secrets
from common.net import log as logs
from common.net.front.connection import Connection
from common.net.front.web import WebConnection
from common.net.metrics import Metrics
from common.net.tasks import Tasks
from common.places import Places
from common.settings import Cluster, Settings, TokenKey
from common.settings import Gateway as GatewaySettings
from common.settings import World as WorldSettings
from servers.gateway import LINK, Gateway
from tests.common.net.hall.recording import RecordingLinks
from tests.tokens import sign_token

SECRET = "t" * 32
SECONDS = 5.0
"""How long anything may take here."""


class Client:
    """The other end of one connection; packets are read when they are asked for."""

    def __init__(self, socket: sockets.socket) -> None:
        self.socket = socket
        self.socket.settimeout(SECONDS)
        self._numbers = count(1)
        self._buffer = b""

    def send(self, op: str, body: dict[str, Any], number: int | None = None) -> int:
        """Send a packet; give its number."""
        number = next(self._numbers) if number is None else number
        self.socket.sendall(framed(op, number, body))
        return number

    def read(self) -> tuple[str, int, dict[str, Any]] | None:
        """Give the next packet; None at the end."""
        while len(self._buffer) < 4 or len(self._buffer) < 4 + self._size():
            data = self.socket.recv(65_536)
            if not data:
                return None
            self._buffer += data
        end = 4 + self._size()
        packet, self._buffer = msgpack.unpackb(self._buffer[4:end]), self._buffer[end:]
        op, number, body = packet
        return op, number, body

    def _size(self) -> int:
        size: int = struct.unpack(">I", self._buffer[:4])[0]
        return size

    def read_ops(self, number: int) -> list[str]:
        """Give the ops of the next packets."""
        return [packet[0] if packet is not None else "end" for packet in (self.read() for _ in range(number))]


def framed(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as TCP carries it."""
    packed: bytes = msgpack.packb([op, number, body])
    return struct.pack(">I", len(packed)) + packed


class Site:
    """One gateway; `links` has what it says to others, `give` is what they say to it."""

    def __init__(self, sessions: int = 2, **gateway: Any) -> None:
        settings = Settings(
            cluster=Cluster(sessions=sessions),
            gateway=GatewaySettings(**gateway),
            world=WorldSettings(maps={"plaza": "worlds.meadow:Meadow"}),
        )
        logs.setup("error", "gateway-0")
        self.links = RecordingLinks()
        self.calls: Callable[..., Any] = empty_mailboxes
        self.process = SimpleNamespace(
            name="gateway-0",
            index=0,
            settings=settings,
            places=Places(settings),
            secrets=Secrets(SECRET, "r" * 32, "p" * 32),
            links=self.links,
            callers=SimpleNamespace(call=lambda *call, **options: self.calls(*call, **options)),
            state="ready",
            directory={},
            metrics=Metrics("gateway-0"),
            log=logs.get(),
            tasks=Tasks(logs.get()),
            state_of=lambda name: "ready",
        )
        self.gateway = Gateway(self.process)  # type: ignore[arg-type]
        self.front = self.gateway.front
        self.front.start()
        self._clients: list[Client] = []
        self._browsers: list[sockets.socket] = []

    def close(self) -> None:
        """End everything."""
        self.front.stop()
        self.process.tasks.stop(1.0)
        for socket in [*(client.socket for client in self._clients), *self._browsers]:
            socket.close()

    def connect(self) -> Client:
        """Give a client whose connection was just accepted."""
        ours, theirs = sockets.socketpair()
        descriptor = ours.detach()
        raw = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        raw.setblocking(False)
        self.front.accepted(raw, "127.0.0.1")
        self._clients.append(Client(theirs))
        return self._clients[-1]

    def browse(self, address: str = "127.0.0.1", sibling: bool = False) -> sockets.socket:
        """Give the other end of an HTTP connection that was just accepted."""
        ours, theirs = sockets.socketpair()
        theirs.settimeout(SECONDS)
        web = WebConnection(self.front, ours, address, sibling)
        self.process.tasks.spawn("web", web.run)
        self._browsers.append(theirs)
        return theirs

    def give(self, peer: str, kind: str, *rest: Any) -> None:
        """Hand over an item of another process; what it brings is written to clients."""
        handler = LINK.get(kind)
        assert handler is not None
        handler(self.gateway, SimpleNamespace(name=peer), *rest)
        self.gateway.link_turn(peer)

    def asked(self, kind: str) -> tuple[str, list[Any]]:
        """Wait until the gateway sends an item of this kind; give (to whom, item)."""
        found: list[tuple[str, list[Any]]] = []

        def look() -> bool:
            found.extend(one for one in self.links.sent if one[1][0] == kind)
            return bool(found)

        until(look)
        self.links.sent.remove(found[0])
        return found[0]

    def listed(self, kind: str) -> list[Any]:
        """Wait until a list of this kind (announce, watches) has been told to its end; give its rows."""
        rows: list[Any] = []
        while True:
            _, (_, part, _, last) = self.asked(kind)
            rows += part
            if last:
                return rows

    def answer(self, kind: str, value: Any) -> list[Any]:
        """Answer the next request of a kind with `ok`; give the item that asked."""
        peer, item = self.asked(kind)
        self.give(peer, "ok", item[1], value)
        return item

    def refuse(self, kind: str, code: str, **facts: Any) -> list[Any]:
        """Answer the next request of a kind with `err`; give the item that asked."""
        peer, item = self.asked(kind)
        self.give(peer, "err", item[1], code, "refused", facts)
        return item

    def hello(
        self, uid: str = "ann", device: str = "d", product: str = "demo", tags: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Give the body of a hello."""
        key = TokenKey(key=SECRET)
        token = sign_token(uid, product, int(time.time()) + 3_600, key, tags=tags)
        return {"v": 1, "token": token, "device": device, "kind": "web"}

    def log_in(self, uid: str = "ann", device: str = "d", epoch: int = 1_000, **token: Any) -> Client:
        """Give a client that is logged in; `token`: product, tags."""
        client = self.connect()
        client.send("hello", self.hello(uid, device, **token), 1)
        self.answer("open", [epoch, 5])
        packet = client.read()
        assert packet is not None
        assert packet[:2] == ("ok", 1)
        return client

    def open_unwelcomed(self) -> tuple[Client, Event]:
        """Give a client that is in while its mailbox is still being read, and what lets that end."""
        reading, go_on = Event(), Event()

        def slow(peer: str, method: str, *args: Any, **options: Any) -> Any:
            reading.set()
            go_on.wait()
            return empty_mailboxes(peer, method, *args, **options)

        self.calls = slow
        client = self.connect()
        client.send("hello", self.hello(), 1)
        self.answer("open", [77, 5])
        assert reading.wait(SECONDS)
        return client, go_on

    def connection(self, uid: str = "ann") -> Connection:
        """Give the connection of a user who is logged in."""
        return next(c for c in self.front.connections.values() if c.user == f"demo/{uid}")


def empty_mailboxes(peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
    """Answer for a dbserver that keeps nothing."""
    if method == "mail_newest":
        return [[0] * len(args[0]), dict.fromkeys([user.partition("/")[0] for user in args[0]], 0)]
    return [[[], [], False, False, 0, 0, 0, 0] for _ in args[0]] if method == "mail_load_many" else None


def until(true: Callable[[], bool]) -> None:
    """Let others run until something is true."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        gevent.sleep(0.001)


def settle() -> None:
    """Let others run for a moment: what was to happen has happened."""
    for _ in range(5):
        gevent.sleep(0.001)
