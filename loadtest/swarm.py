"""Thousands of clients in one process: one epoll, whole frames, a few bytes each on plain TCP.

    python -m loadtest.swarm '{"host": …, "port": …, "count": …}'

Told what to do by lines of JSON on stdin, `{"do": "login"}`, and answers each with one
line of JSON on stdout. What comes for a client is counted packet by packet, and the
offsets of its room must grow by exactly one (loadtest/receipts.py); so a lost, doubled
or misplaced message shows in `report`. Between orders it goes on reading and pinging.

A process may open 20,000 descriptors, and a source address gives 28,000 ports: take
one process for at most 19,000 clients, each with a source address of its own.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from loadtest.receipts import Receipts
from loadtest.wires import WIRES, Wire
from tools.tokens import make_token

IP_BIND_ADDRESS_NO_PORT = 24
WINDOW = 256
"""Logins under way at once: below what a gateway allows half-open from one address."""
READ_BYTES = 262_144
HELLO, JOIN, PUBLISH, PING = 1, 2, 3, 4
"""Request ids: one of each is under way per client."""
STDIN = 0

_pack_size = struct.Struct(">I").pack


def packet(op: str, number: int, body: dict[str, Any]) -> bytes:
    """Give a packet as it goes onto the wire."""
    packed: bytes = msgpack.packb((op, number, body))
    return _pack_size(len(packed)) + packed


_PING_PACKET = packet("ping", PING, {})


def trusting() -> ssl.SSLContext:
    """Give a client's TLS, 1.3, that takes any certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who the clients are and where they go.

    Args:
        count: clients.
        first: number of the first; user "u<number>", each with a device of its own.
        rooms_of: clients that share a room "plaza/<room>.<n>"; 0: nobody joins any.
        token_key: the cluster's key (HS256).
        source: third byte of the source address 127.1.<source>.1.
        carrier: "tcp", or one of WIRES; those by requests only log in and listen.
        tls: shake hands first; any certificate is taken.
        raw: a bare server (loadtest/bench/bare.py) is at the other end: no login. Reading is the
            same, so that what a sender pays to wake its readers is the same too.
        ping_every: seconds between two pings of a client; 0: none.
        patience: seconds any order may take.
    """

    port: int
    count: int
    host: str = "127.0.0.1"
    first: int = 0
    rooms_of: int = 0
    room: str = "bench"
    product: str = "bench"
    token_key: str = ""
    source: int = 0
    carrier: str = "tcp"
    tls: bool = False
    raw: bool = False
    ping_every: float = 0.0
    patience: float = 120.0


class Swarm:
    """The clients and what they have heard.

    Attributes:
        receipts: counts of what came.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.receipts = Receipts()
        self._socks: dict[int, socket.socket] = {}
        self._wires: dict[int, Wire] = {}
        self._shaking: dict[int, bytes] = {}
        self._tls = trusting() if plan.tls else None
        self._order: list[int] = []
        self._joined = 0
        self._ping_again = False
        self._pinged = 0.0
        self._poll = select.epoll()

    # orders

    def login(self) -> dict[str, Any]:
        """Connect all clients and, unless raw, log each in and join its room."""
        began, cpu = time.monotonic(), time.process_time()
        plan = self.plan
        until = began + plan.patience
        while self._joined < plan.count:
            while len(self._order) < plan.count and len(self._order) - self._joined < WINDOW:
                self._connect(len(self._order))
            self.turn(until)
        seconds = time.monotonic() - began
        return {"clients": plan.count, "seconds": seconds, "cpu": time.process_time() - cpu}

    def rounds(self, rounds: int, gathered: int, bytes: int) -> dict[str, Any]:
        """Have the first client publish `gathered` messages at once, `rounds` times.

        A round begins when every client has all of the one before. Raw: one byte of the
        first client makes the server send a message to each.
        """
        plan, heard, speaker = self.plan, self.receipts, self._socks[self._order[0]]
        body = {"room": self.room_of(0), "data": "x" * bytes}
        words = b"!" if plan.raw else self._wrap(self._order[0], packet("publish", PUBLISH, body) * gathered)
        messages, octets, reads = heard.messages, heard.octets, heard.reads
        began, cpu = time.monotonic(), time.process_time()
        until = began + plan.patience
        for number in range(1, rounds + 1):
            speaker.sendall(words)
            while heard.messages - messages < number * gathered * plan.count:
                self.turn(until)
        return {
            "messages": heard.messages - messages,
            "octets": heard.octets - octets,
            "reads": heard.reads - reads,
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - cpu,
        }

    def echo(self, seconds: float) -> dict[str, Any]:
        """Every client keeps one ping under way (a bare server sends it back); give the round trips."""
        began, before = time.monotonic(), self.receipts.reads
        self._ping_again = True
        for descriptor in self._socks:
            self._say(descriptor, _PING_PACKET)
        while time.monotonic() < began + seconds:
            self.turn(began + self.plan.patience)
        trips, taken = self.receipts.reads - before, time.monotonic() - began
        self._ping_again = False
        last = self.receipts.reads + len(self._socks)
        while self.receipts.reads < last:
            self.turn(began + self.plan.patience)
        return {"trips": trips, "seconds": taken}

    def hear(self, op: str, count: int) -> dict[str, Any]:
        """Read until so many packets of this op have come in all; give the monotonic time of the last."""
        until = time.monotonic() + self.plan.patience
        while self.receipts.ops[op] < count:
            self.turn(until)
        return {"at": time.monotonic()}

    def rest(self, seconds: float) -> dict[str, Any]:
        """Say nothing for so long; go on reading."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn(until + 1, 0.05)
        return {}

    def report(self) -> dict[str, Any]:
        """Give the counts of every receipt so far."""
        return {"clients": len(self._socks), **self.receipts.report()}

    # clients

    def room_of(self, index: int) -> str:
        """Give the room of the client at a place in the swarm."""
        return f"plaza/{self.plan.room}.{(self.plan.first + index) // max(1, self.plan.rooms_of)}"

    def _connect(self, index: int) -> None:
        plan = self.plan
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.1.{plan.source}.1", 0))
        sock.connect((plan.host, plan.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            sock.setblocking(False)
            sock = self._tls.wrap_socket(sock, do_handshake_on_connect=False)
        descriptor = sock.fileno()
        self._socks[descriptor] = sock
        self._order.append(descriptor)
        self._poll.register(descriptor, select.EPOLLIN)
        if plan.raw:
            self._joined += 1
        else:
            self._begin(descriptor, self._hello(index))
        sock.setblocking(False)

    def _begin(self, descriptor: int, words: bytes) -> None:
        """Write a client's first words, behind its handshake."""
        if self.plan.carrier != "tcp":
            wire = self._wires[descriptor] = WIRES[self.plan.carrier]()
            words = wire.begin(words)
        if self.plan.tls:
            self._shaking[descriptor] = words
            self._shake(descriptor)
        else:
            self._socks[descriptor].sendall(words)

    def _shake(self, descriptor: int) -> None:
        """Go on with a handshake; the first words follow it."""
        sock = self._socks[descriptor]
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            return
        sock.sendall(self._shaking.pop(descriptor))

    def _wrap(self, descriptor: int, frames: bytes) -> bytes:
        return self._wires[descriptor].wrap(frames) if self._wires else frames

    def _say(self, descriptor: int, frames: bytes) -> None:
        self._socks[descriptor].sendall(self._wrap(descriptor, frames))

    def _hello(self, index: int) -> bytes:
        number = self.plan.first + index
        token = make_token(self.plan.token_key, f"u{number}", self.plan.product, time.time(), 86_400, {})
        words = packet("hello", HELLO, {"v": 1, "token": token, "device": f"d{number}", "kind": "bench"})
        if self.plan.rooms_of:
            words += packet("join", JOIN, {"room": self.room_of(index)})
        return words

    # reading

    def turn(self, until: float, wait: float = 0.2) -> bool:
        """Read what has come, for at most `wait` seconds if nothing has; True: an order waits.

        Raises:
            TimeoutError: it is past `until`; with the counts so far.
        """
        if time.monotonic() > until:
            raise TimeoutError(json.dumps(self.report()))
        ordered = False
        for descriptor, _event in self._poll.poll(wait, 4096):
            if descriptor == STDIN:
                ordered = True
            else:
                self._read(descriptor)
        return ordered

    def listen(self) -> None:
        """Serve until an order comes on stdin; ping meanwhile."""
        self._poll.register(STDIN, select.EPOLLIN)
        while not self.turn(float("inf")):
            self._ping_some()
        self._poll.unregister(STDIN)

    def _ping_some(self) -> None:
        """Ping as many clients as are due since the last call, in turn."""
        if not self.plan.ping_every:
            return
        now = time.monotonic()
        due = int((now - self._pinged) / self.plan.ping_every * len(self._order)) if self._pinged else 0
        if due or not self._pinged:
            self._pinged = now
        for descriptor in self._order[:due]:
            if descriptor in self._socks:
                self._say(descriptor, _PING_PACKET)
        self._order = self._order[due:] + self._order[:due]

    def _read(self, descriptor: int) -> None:
        try:
            data = (
                self._socks[descriptor].recv(READ_BYTES) if not self._shaking else self._receive(descriptor)
            )
            if not data:
                raise ConnectionError("closed by the server")
            if self._wires:
                data = self._unwrap(descriptor, data)
        except ssl.SSLWantReadError:
            return
        except OSError as error:
            self.receipts.errors[str(error)] += 1
            self._poll.unregister(descriptor)
            self._socks.pop(descriptor).close()
            return
        for op, number, _body in self.receipts.take(descriptor, data):
            self._follow(descriptor, op, number)

    def _receive(self, descriptor: int) -> bytes:
        """Read while some shake hands; one that still does goes on with it."""
        if descriptor in self._shaking:
            self._shake(descriptor)
        return self._socks[descriptor].recv(READ_BYTES)

    def _unwrap(self, descriptor: int, data: bytes) -> bytes:
        """Give the frames in what a carrier brought, and write what it wants to say."""
        frames, answer = self._wires[descriptor].take(data)
        if answer:
            self._socks[descriptor].sendall(answer)
        return frames

    def _follow(self, descriptor: int, op: str, number: int) -> None:
        """Do what a packet asks for."""
        if op in ("pong", "ping") and self._ping_again:
            self._socks[descriptor].sendall(_PING_PACKET)
        elif op == "ok" and number == (JOIN if self.plan.rooms_of else HELLO):
            self._joined += 1


ORDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "login": Swarm.login,
    "rounds": Swarm.rounds,
    "echo": Swarm.echo,
    "hear": Swarm.hear,
    "rest": Swarm.rest,
    "report": Swarm.report,
}


def main(words: str) -> None:
    """Carry out orders until stdin ends; an order that fails is answered with `error`, and is the last."""
    swarm = Swarm(Plan(**json.loads(words)))
    while True:
        swarm.listen()
        line = sys.stdin.readline()
        if not line:
            return
        order = json.loads(line)
        try:
            answer = ORDERS[order.pop("do")](swarm, **order)
        except (OSError, ValueError) as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
