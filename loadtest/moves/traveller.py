"""A player who takes things up and goes from map to map, whatever happens to the processes.

    enter ─▶ take up, a few times ─▶ keep, now and then ─▶ go ─▶ entered, elsewhere ─▶ again
                    ▲                                              │ away: wait, or ask to enter
                    └──────────── numbers on from `ack` ◀──────────┘

Each input takes up the item of its number. After each `entered` all inputs above the one
before the last that was applied are sent again: two of them are repeats.

Source: docs/testing.md, moves.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
import msgpack
from gevent.event import AsyncResult, Event

from loadtest.flock.histogram import Histogram
from loadtest.moves.judge import State
from loadtest.moves.look import items as named

ANSWER_SECONDS = 12.0
PATIENCE = 2.0
"""Seconds until something is asked for again."""
REPEATED = 2
"""Inputs sent again although they were applied."""
MOST = 3
"""Things taken up in one map."""


class Failed(Exception):
    """A request was refused, or nobody answered."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Traveller:
    """One player.

    Args:
        user: "product/uid".
        maps: between which it goes.
        rest: mean seconds between two moves.
        counts: what happened, of all travellers.
        moved, back: how long it took from asking for a move to `entered`, and from `away` to `entered`.

    Attributes:
        steps: what it was told is stored, in order.
        sent: number of its last input.
        moves: how often it has come to another map.
    """

    def __init__(
        self,
        user: str,
        maps: tuple[str, ...],
        dice: random.Random,
        rest: float,
        counts: Counter[str],
        moved: Histogram,
        back: Histogram,
    ) -> None:
        self.user = user
        self.steps: list[State] = []
        self.sent = 0
        self.moves = 0
        self._maps = maps
        self._dice = dice
        self._rest = rest
        self._counts = counts
        self._moved = moved
        self._back = back
        self._away_at = 0.0
        self._socket: socket.socket | None = None
        self._numbers = count(1)
        self._answers: dict[int, AsyncResult] = {}
        self._news = Event()
        self._map = ""
        self._place = ""
        self._life = 0
        self._ack = 0
        self._away = False
        self._calm = False

    # a connection

    def connect(self, address: tuple[str, int], token: str) -> None:
        """Log in and enter a map."""
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gevent.spawn(self._read, self._socket.makefile("rb"))
        self._request("hello", {"v": 1, "token": token, "device": "moves"})
        while not self._place:
            self._enter()

    def close(self) -> None:
        """Break off."""
        if self._socket is not None:
            self._socket.close()

    def _send(self, op: str, number: int, body: dict[str, Any]) -> None:
        assert self._socket is not None
        packet = msgpack.packb([op, number, body])
        self._socket.sendall(struct.pack(">I", len(packet)) + packet)

    def _request(self, op: str, body: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = AsyncResult()
        self._send(op, number, body)
        try:
            said, found = answer.get(timeout=ANSWER_SECONDS)
        except gevent.Timeout:
            self._counts["without answer"] += 1
            raise Failed("no answer") from None
        finally:
            del self._answers[number]
        if said == "error":
            self._counts[f"refused: {op} {found['code']}"] += 1
            raise Failed(found["code"])
        return dict(found)

    def _read(self, stream: Any) -> None:
        """Take what comes, in its order."""
        try:
            while head := stream.read(4):
                op, number, body = msgpack.unpackb(stream.read(struct.unpack(">I", head)[0]))
                self._take(op, number, body)
        except (OSError, ValueError):
            return

    def _take(self, op: str, number: int, body: dict[str, Any]) -> None:
        if op == "entered" and body.get("away"):
            self._away_at = self._away_at if self._away else time.monotonic()
            self._away = True
            self._counts["told away"] += 1
        elif op == "entered" or (op == "ok" and "life" in body):
            self._came(body)
        elif op == "state":
            self._ack = max(self._ack, body.get("ack", 0))
            for event in body.get("events", ()):
                self._kept(event)
        elif op == "kick":
            self._counts[f"kicked: {body['code']}"] += 1
        answer = self._answers.get(number)
        if number and answer is not None:
            answer.set((op, body))
        self._news.set()

    def _came(self, body: dict[str, Any]) -> None:
        """It is in a map: where it was, or in another one."""
        if self._away:
            self._back.record(int((time.monotonic() - self._away_at) * 1e6))
        product = self.user.partition("/")[0]
        self._place = f"{product}/{body['map']}/{body['line']}"
        if self._map and body["map"] != self._map:
            self.moves += 1
        self._map, self._away, self._ack = body["map"], False, body["ack"]
        if body["life"] != self._life:
            self._life = body["life"]
            self._step(body["items"])
        else:
            self._counts["resumed"] += 1
        for n in range(max(1, self._ack + 1 - REPEATED), self.sent + 1):
            self._counts["inputs sent again"] += 1
            self._input(n)

    def _kept(self, event: dict[str, Any]) -> None:
        if event.get("stored"):
            self._step(event["kept"])
            self._counts["kept"] += 1

    def _step(self, items: list[list[Any]]) -> None:
        self.steps.append(State(self._place, self._ack, named(self.user, items)))

    # what it does

    def live(self) -> None:
        """Go about until `calm`."""
        while not self._calm:
            try:
                self._one_move()
            except Failed as failure:
                gevent.sleep(self._dice.uniform(0.05, 0.3))
                if failure.code in ("not_joined", "unavailable", "no answer"):
                    self._come_back()
            gevent.sleep(self._dice.uniform(0, 2 * self._rest))

    def _one_move(self) -> None:
        for _ in range(self._dice.randint(1, MOST)):
            self.sent += 1
            self._input(self.sent)
        if self._dice.random() < 0.5:
            self._wait(lambda: self._ack >= self.sent)
        if self._dice.random() < 0.15:
            self._request("call", {"map": self._map, "method": "keep"})
        before, came_from = self.moves, self._map
        to = self._dice.choice([name for name in self._maps if name != came_from])
        began = time.monotonic()
        self._request("call", {"map": came_from, "method": "go", "args": {"to": to}})
        if self._wait(lambda: self.moves > before):
            self._moved.record(int((time.monotonic() - began) * 1e6))
        elif self._away:
            self._come_back()

    def calm(self) -> None:
        """Do nothing any more but come back."""
        self._calm = True

    def settle(self, seconds: float) -> bool:
        """Wait until it is in a map and all its inputs are applied; False when that took too long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._wait(lambda: not self._away and self._ack >= self.sent):
                return True
            self._come_back()
            for n in range(self._ack + 1, self.sent + 1):
                self._input(n)
        return False

    def _come_back(self) -> None:
        """Wait for the world; where that takes long, ask to come in: there may be no seat any more."""
        if not self._wait(lambda: not self._away):
            self._enter()

    def _enter(self) -> None:
        try:
            self._request("enter", {"map": self._map or self._dice.choice(self._maps)})
        except Failed:
            gevent.sleep(self._dice.uniform(0.1, 0.5))

    def _input(self, n: int) -> None:
        self._send("input", 0, {"n": n, "data": {"take": n}})

    def _wait(self, true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        until = time.monotonic() + seconds
        while not true():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._news.clear()
            self._news.wait(left)
        return True
