"""Ticks: what one costs in a world process, and its way out in a gateway, by how many players all move.

No sockets: the world's line hands its items to nobody, and the same items are given to a
gateway's views whose connections only count bytes. `python -m loadtest.bench ticks`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from math import sqrt
from types import SimpleNamespace
from typing import Any

from common.net import log as logs
from common.net.front.front import COUNTERS as FRONT_COUNTERS
from common.net.front.views import Views
from common.net.metrics import Metrics
from common.net.pulse import Lag
from common.net.stage.line import COUNTERS, Line
from common.net.stage.publication import Publication
from common.rules.grid import around
from common.rules.route import NO_INPUT
from common.rules.stay import Stay
from common.wire.codec import unpack
from worlds.actions import Field, action
from worlds.space import Player, Space

KEY = "demo/steppe/1"
PHASES = ("input", "simulate", "gather", "publish")
GATEWAYS = 2
GOAL_MS = 100.0
STEP = 5
VIEW = 100
WARM_UP = 10


class Steppe(Space):
    """Everybody walks a few points each tick, in a direction it chooses anew each tick."""

    view = VIEW

    def on_enter(self, player: Player, data: Any) -> None:
        player.x, player.y = (self.chance.randint(0, int(self.width)) for _ in range(2))
        player.data = {"name": player.uid}
        player.heading = (0, 0)

    @action("walk", Field("dx", "number", low=-STEP, high=STEP), Field("dy", "number", low=-STEP, high=STEP))
    def walk(self, player: Player, dx: float, dy: float) -> None:
        player.heading = (dx, dy)

    def on_tick(self, seconds: float) -> None:
        move = self.move
        for player in self.players.values():
            dx, dy = player.heading
            move(player, player.x + dx, player.y + dy)


class Counting:
    """A connection that counts what it is given."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.seat: Any = None
        self.bytes = 0

    def push(self, blob: bytes, source: Any, offset: int, own: bytes = b"") -> None:
        self.bytes += len(blob + own)

    def missed(self, source: Any) -> bool:
        return False

    def covered(self, source: Any) -> None:
        """It misses nothing."""


def measure(
    players: Sequence[int] = (100, 500, 1_000, 2_000), in_view: float = 16.0, ticks: int = 50
) -> dict[str, Any]:
    """Give milliseconds of CPU per tick.

    Args:
        players: how many, one row each.
        in_view: others in the 3 × 3 cells of each, on average; says how large the map is.
    """
    logs.setup("error", "bench")
    rows = [_row(count, in_view, ticks) for count in players]
    return {"goal_ms": GOAL_MS, "gateways": GATEWAYS, "players": rows}


def _row(count: int, in_view: float, ticks: int) -> dict[str, Any]:
    side = max(1, round(VIEW * 3 * sqrt(count / in_view)))
    kind: Any = type("Steppe", (Steppe,), {"width": side, "height": side})
    metrics = Metrics("world-0")
    counters = metrics.area("stage", COUNTERS)
    sent: list[tuple[str, bytes]] = []

    def send(gateway: str, item: bytes) -> bool:
        sent.append((gateway, item))
        return True

    links: Any = SimpleNamespace(send=send, up=lambda name: True)
    space = kind("0.1", None, random.Random(1))
    publication = Publication(KEY, space.interest, links, counters)
    line = Line(KEY, space, publication, counters, Lag(1.0), logs.get(), 16, lambda errand: None)
    people = [line.enter(_stay(f"bench/u{number}"), None) for number in range(count)]
    for number, player in enumerate(people):
        line.seat(player, f"gateway-{number % GATEWAYS}", number + 1)
    spent = []
    for tick in range(1, WARM_UP + ticks + 1):
        if tick == WARM_UP + 1:
            before = {phase: getattr(counters, f"{phase}_us") for phase in PHASES}
        for player in people:
            walk = {
                "do": "walk",
                "dx": space.chance.randint(-STEP, STEP),
                "dy": space.chance.randint(-STEP, STEP),
            }
            line.offer(player, tick, walk)
        began = time.process_time()
        line.step(tick, 0.1)
        spent.append(time.process_time() - began)
    spent = sorted(spent[WARM_UP:])
    grid = space.interest.grid
    seen = sum(
        sum(1 for cell in around(one.centre, grid.columns, grid.rows) for _ in space.interest.snapshot(cell))
        - 1
        for one in people
    )
    phases = {phase: getattr(counters, f"{phase}_us") - before[phase] for phase in PHASES}
    return {
        "players": count,
        "in_view_mean": round(seen / count, 1),
        "tick_cpu_ms": round(1000 * sum(spent) / ticks, 2),
        "tick_cpu_ms_max": round(1000 * spent[-1], 2),
        "us_per_player": round(1e6 * sum(spent) / ticks / count, 2),
        "phases_ms": {phase: round(us / ticks / 1000, 2) for phase, us in phases.items()},
        **_gateway(space, [item for gateway, item in sent if gateway == "gateway-0"], count),
    }


def _stay(user: str) -> Stay:
    """Give the stay of a player that is in."""
    stay = Stay(user, KEY, linkdead=30.0, every=30.0)
    stay.claimed("world-0 1 1", 1, 0, NO_INPUT, 0.0)
    return stay


def _gateway(space: Space, items: list[bytes], count: int) -> dict[str, Any]:
    """Give what the ticks cost a gateway with every other player, sockets left out."""
    counters = Metrics("gateway-0").area("gateway", FRONT_COUNTERS)
    views = Views(SimpleNamespace(), 1e9, counters)  # type: ignore[arg-type]
    grid = space.interest.grid
    connections = [Counting(number + 1) for number in range(0, count, GATEWAYS)]
    for connection in connections:
        seat = views.take(connection, KEY, "world-0", None)  # type: ignore[arg-type]
        views.placed(seat, grid.columns, grid.rows, KEY, "world-0", 1)
    spent = []
    for item in items:
        began = time.process_time()
        views.tick(*unpack(item)[1:])
        spent.append(time.process_time() - began)
    given = sum(connection.bytes for connection in connections)
    return {
        "gateway_tick_cpu_ms": round(1000 * sum(spent[WARM_UP:]) / max(1, len(spent) - WARM_UP), 2),
        "item_kib": round(sum(map(len, items)) / len(items) / 1024, 1),
        "bytes_per_player_and_tick": round(given / len(items) / len(connections)),
    }
