"""A constant number of devices that come and go all the time, in one process: one epoll.

    python -m loadtest.soak.crowd '{"addresses": [["127.0.0.1", 7100]], "devices": 2400, …}'

Devices, users and rooms are a fixed set, so that what a server remembers of them is
bounded. `rate` times a second one leaves and comes back a moment later: with the resume
token it was given, or with a token anew; to the gateway that has fewest of the crowd.

    left by    bye (the server closes) · FIN · RST · a second connection of the same device
    and some   hello, then RST before its answer

Meanwhile they publish, send, ack, join and leave other rooms, ask, watch and ping, at
rates in proportion to `rate`. Told by lines of JSON on stdin: `{"do": "report"}`.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtest.soak.device import Device, Line, packet
from loadtest.soak.doings import DOINGS
from tools.tokens import make_token

IP_BIND_ADDRESS_NO_PORT = 24
SOURCES = 8
"""Source addresses: ports rest a minute after a connection this side closed."""
READ_BYTES = 262_144
TURN = 0.01
STDIN = 0
RESET = struct.pack("ii", 1, 0)
ANSWER_SECONDS = 15.0
"""A request without an answer for so long is an error."""
FIRST_LOGINS = 2
"""So many times `rate` a second all come in at the beginning."""
WAYS = {"bye": 35, "fin": 35, "rst": 25, "replaced": 5}
"""How devices leave, in percent."""
ABANDONED = 0.03
"""Share of comings that give up before their welcome and come again."""
RESUMED = 0.6
"""Share of logins by resume token, where there is one."""
AWAY_SECONDS = (0.2, 4.0)
UNSURE_SECONDS = (5.0, 8.0)
"""How long a device rests that gave a login up: its `hello` may be on its way still, and would win."""
ACK_EVERY = 0.2
BROADCASTS_ACKED = 15.0
"""Seconds over which a broadcast is acked, each at a moment of its own: the load stays the same."""
PING_EVERY = 60.0
TOKEN_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Who they are and what they do.

    Args:
        addresses: (host, port) of each gateway.
        devices: two a user; a tenth of them stays for good.
        rate: reconnects a second.
        rooms: rooms; each device is at home in one, and in one of a tenth as many durable ones.
        receivers: users that get kept messages.
        ttl: seconds a kept message lives.
    """

    addresses: list[list[Any]]
    token_key: str
    devices: int = 2_400
    rate: float = 200.0
    rooms: int = 60
    receivers: int = 300
    ttl: int = 120
    product: str = "soak"
    seed: int = 1


class Crowd:
    """All devices, and what became of what they did.

    Attributes:
        counts, errors: how often; errors are what must not happen.
        devices: all of them, here or away.
        number: grows with each use, for keys and source addresses.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.random = random.Random(plan.seed)
        self._poll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._held = [0] * len(plan.addresses)
        self.devices = [self._device(number) for number in range(plan.devices)]
        self._away: list[tuple[float, int]] = []
        self._here: list[Device] = []
        self._place: dict[Device, int] = {}
        self._acking: set[Line] = set()
        self.number = 0
        began = time.monotonic()
        first = FIRST_LOGINS * plan.rate
        for device in self.devices:
            heapq.heappush(self._away, (began + device.number / first, device.number))
        self._settled_at = began + plan.devices / first + 1.0
        self._dues = {action: self._settled_at for action in DOINGS}
        self._leave_due = self._settled_at
        self._ack_due = self._ping_due = began

    def _device(self, number: int) -> Device:
        plan = self.plan
        uid = f"u{number // 2}"
        home = f"plaza/soak.{number % plan.rooms}"
        durable = f"plaza/keep.soak.{number % max(1, plan.rooms // 10)}"
        return Device(number, uid, f"d{number % 2}", [home, durable], number % 10 == 7)

    def listen(self) -> None:
        """Have `turn` look for orders on stdin too."""
        self._poll.register(STDIN, select.EPOLLIN)

    # turning

    def turn(self) -> bool:
        """Do what is due, read what has come; True when an order waits."""
        now = time.monotonic()
        self._come(now)
        self._go(now)
        self._act(now)
        ordered = False
        for descriptor, _event in self._poll.poll(TURN, 4096):
            if descriptor == STDIN:
                ordered = True
            elif descriptor in self._lines:
                self._read(descriptor)
        return ordered

    def _come(self, now: float) -> None:
        while self._away and self._away[0][0] <= now:
            device = self.devices[heapq.heappop(self._away)[1]]
            if device.line is None:
                self._open(device, now)

    def _go(self, now: float) -> None:
        """Let as many leave as are due; who has come within the last second stays."""
        while self._leave_due <= now:
            self._leave_due += 1 / self.plan.rate
            device = self._anybody(
                lambda d: not d.resident and d.line.welcomed and d.line.opened_at < now - 1
            )
            if device is None:
                self.counts["nobody could leave"] += 1
            else:
                self._leave(device, now)

    def _act(self, now: float) -> None:
        for action, (share, act) in DOINGS.items():
            while self._dues[action] <= now:
                self._dues[action] += 1 / (share * self.plan.rate)
                device = self._anybody(lambda d: True)
                if device is not None and device.line is not None:
                    act(self, device.line, now)
                    self.counts[action] += 1
        if self._ack_due <= now:
            self._ack_due = now + ACK_EVERY
            self._ack(now)
        if self._ping_due <= now:
            self._ping_due = now + PING_EVERY
            for device in self._here:
                if device.resident and device.line is not None:
                    self.send(device.line, device.line.request("ping", {}, now))

    def _anybody(self, fits: Callable[[Any], bool]) -> Device | None:
        for _ in range(20):
            if not self._here:
                return None
            device = self._here[self.random.randrange(len(self._here))]
            if fits(device):
                return device
        return None

    # coming

    def _open(self, device: Device, now: float) -> None:
        plan = self.plan
        gateway = self._held.index(min(self._held))
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.number += 1
        sock.bind((f"127.1.{self.number % SOURCES}.1", 0))
        sock.settimeout(5.0)
        try:
            sock.connect(tuple(plan.addresses[gateway]))
        except OSError as error:
            sock.close()
            self.errors[f"connect: {error}"] += 1
            heapq.heappush(self._away, (now + 1.0, device.number))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        line = Line(device, gateway, sock, now)
        self._lines[sock.fileno()] = line
        self._held[gateway] += 1
        self._poll.register(sock.fileno(), select.EPOLLIN)
        device.line = line
        self._greet(device, line, now)
        if device.rooms and self.random.random() < ABANDONED and now > self._settled_at:
            self.counts["abandoned"] += 1
            self._reset(line)
            self._back(device, now, UNSURE_SECONDS)

    def _greet(self, device: Device, line: Line, now: float) -> None:
        """Send `hello`, and behind it what each login does."""
        resumes = bool(device.resume) and self.random.random() < RESUMED
        token = "" if resumes else self._token(device)
        self.counts["resumed" if resumes else "by token"] += 1
        words = line.request("hello", device.hello(token), now)
        for room in device.rooms:
            words += line.request("join", device.join(room, self.random.random() < 0.5), now)
        if device.number % 10 == 0:
            watched = [f"u{(device.number + step) % (self.plan.devices // 2)}" for step in (3, 5, 7)]
            words += line.request("watch", {"users": watched}, now)
        self.send(line, words)

    def _token(self, device: Device) -> str:
        claims = {"tags": ["v1" if device.number % 3 else "v2", "eu"]}
        return make_token(
            self.plan.token_key, device.uid, self.plan.product, time.time(), TOKEN_SECONDS, claims
        )

    def _in(self, device: Device, line: Line, body: dict[str, Any], now: float) -> None:
        device.resume = body["resume"]
        line.welcomed = True
        self.counts["logins"] += 1
        if now > self._settled_at:
            self.counts["reconnects"] += 1
        if device not in self._place:
            self._place[device] = len(self._here)
            self._here.append(device)

    # going

    def _leave(self, device: Device, now: float) -> None:
        line = device.line
        assert line is not None
        way = self.random.choices(list(WAYS), list(WAYS.values()))[0]
        self.counts[f"left: {way}"] += 1
        if way == "replaced":
            line.leaving, line.left_at = way, now
            self._acking.discard(line)
            self._open(device, now)
            return
        if way == "bye":
            line.leaving, line.left_at = way, now
            device.resume = ""
            self.send(line, packet("bye", 0, {}))
        elif way == "fin":
            self._drop(line)
        else:
            self._reset(line)
        self._back(device, now)

    def _back(self, device: Device, now: float, seconds: tuple[float, float] = AWAY_SECONDS) -> None:
        """A device has left: it comes back in a moment."""
        device.line = None
        place = self._place.pop(device, None)
        if place is not None:
            last = self._here.pop()
            if last is not device:
                self._here[place] = last
                self._place[last] = place
        heapq.heappush(self._away, (now + self.random.uniform(*seconds), device.number))

    def _reset(self, line: Line) -> None:
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._drop(line)

    def _drop(self, line: Line) -> None:
        descriptor = line.sock.fileno()
        self._poll.unregister(descriptor)
        del self._lines[descriptor]
        self._held[line.gateway] -= 1
        self._acking.discard(line)
        line.sock.close()

    # reading and writing

    def send(self, line: Line, words: bytes) -> None:
        """Write packets; a line that is lost is told of by its end."""
        try:
            if line.sock.send(words) != len(words):
                self.errors["the kernel took only a part"] += 1
        except OSError as error:
            self.counts[f"send: {error.strerror}"] += 1

    def _read(self, descriptor: int) -> None:
        line = self._lines[descriptor]
        try:
            data = line.sock.recv(READ_BYTES)
        except OSError as error:
            data, words = b"", str(error)
        else:
            words = "closed by the server"
        now = time.monotonic()
        if not data:
            self._drop(line)
            if not line.leaving:
                self.errors[f"lost: {words}"] += 1
            if line.device.line is line:
                self._back(line.device, now)
            return
        for op, number, body in line.take(data):
            self._take(line, op, number, body, now)

    def _take(self, line: Line, op: str, number: int, body: dict[str, Any], now: float) -> None:
        self.counts[f"heard: {op}"] += 1
        request, _ = line.pending.pop(number, ("", 0.0)) if number else ("", 0.0)
        if op == "error":
            self.errors[f"{request}: {body['code']}: {body['message']}"] += 1
        elif op == "kick":
            if not line.leaving or body["code"] != "replaced":
                self.errors[f"kick {body['code']}: {body['reason']}"] += 1
            line.leaving, line.left_at = "kick", now
        elif op == "inbox":
            self._got(line, body.get("seq") or 0, body.get("bseq") or 0, now)
        elif op in ("message", "gap"):
            line.device.heard(op, body)
        elif request == "hello" and not line.leaving:
            self._in(line.device, line, body, now)
        elif request == "join":
            line.device.heard(op, body)

    def _got(self, line: Line, seq: int, bseq: int, now: float) -> None:
        """Note a kept message or broadcast: it is acked soon."""
        line.seq, line.bseq = max(line.seq, seq), max(line.bseq, bseq)
        due = now + (0.0 if seq else self.random.uniform(0.0, BROADCASTS_ACKED))
        if (seq or bseq) and not line.leaving:
            line.ack_at = min(due, line.ack_at) if line in self._acking else due
            self._acking.add(line)

    def _ack(self, now: float) -> None:
        due = [line for line in self._acking if line.ack_at <= now]
        for line in due:
            numbers = {name: number for name in ("seq", "bseq") if (number := getattr(line, name))}
            self.send(line, line.request("ack", numbers, now))
            self.counts["acks"] += 1
        self._acking.difference_update(due)

    # orders

    def report(self) -> dict[str, Any]:
        """Give all counts so far, and who waits too long for an answer."""
        limit = time.monotonic() - ANSWER_SECONDS
        for line in list(self._lines.values()):
            if line.leaving and line.left_at < limit:
                self.errors[f"{line.leaving}: not closed by the server"] += 1
                self._drop(line)
                continue
            late = [number for number, (_, sent_at) in line.pending.items() if sent_at < limit]
            for number in late:
                op, _ = line.pending[number]
                line.pending[number] = (op, float("inf"))  # counted; the answer may still come
                if not line.leaving:
                    self.errors[f"{op}: no answer"] += 1
        return {
            "here": len(self._here),
            "settled": time.monotonic() > self._settled_at + AWAY_SECONDS[1],
            "counts": dict(self.counts),
            "errors": dict(self.errors.most_common(30)),
        }


ORDERS: dict[str, Callable[[Crowd], dict[str, Any]]] = {"report": Crowd.report}


def main(words: str) -> None:
    """Turn until stdin ends; answer each order with a line of JSON."""
    crowd = Crowd(Plan(**json.loads(words)))
    crowd.listen()
    while True:
        if crowd.turn():
            line = sys.stdin.readline()
            if not line:
                return
            print(json.dumps(ORDERS[json.loads(line)["do"]](crowd)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
