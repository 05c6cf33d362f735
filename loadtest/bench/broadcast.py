"""Broadcasts to every connection of a product: how soon the last has it, and who runs late meanwhile.

Sent as an application server does, by center, which has one gateway after the other walk
its connections. A kept one is in storage before that. The lateness of each process's
loop is that of the last minute; all is quiet before the first broadcast.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any
from urllib.request import Request, urlopen

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.meter import Meter, lag_ms
from tests.cluster.cluster import Cluster
from tools import apikeys

PRODUCT = "bench"
GATEWAYS = 2
GOAL_SECONDS = 2.0
GOAL_LAG_MS = 50.0
PATIENCE = 600.0


def measure(connections: int = 20_000, rounds: int = 5, quiet: float = 61.0) -> dict[str, Any]:
    """Give the seconds of live and kept broadcasts, the lateness of all loops, and the CPU time of each.

    Args:
        rounds: broadcasts of each kind.
        quiet: seconds before the first; above a minute the logins are out of the figures.
    """
    each = connections // GATEWAYS
    with ExitStack() as stack:
        running = stack.enter_context(cluster({"cluster.gateways": GATEWAYS}))
        key = apikeys.create(running.settings, PRODUCT, ["push"], "bench")
        swarms = []
        for index in range(GATEWAYS):
            _, port = running.tcp(index)
            who = plan(
                running, each, product=PRODUCT, first=index * each, source=index, patience=PATIENCE
            ) | {"port": port}
            swarms.append(stack.enter_context(Commanded("loadtest.flock", who, PATIENCE)))
            swarms[-1].order("login")
        for swarm in swarms:
            swarm.begin("rest", seconds=quiet)
        for swarm in swarms:
            swarm.answer()
        meter, seconds, cpu, before = Meter(running), {}, {}, lag_ms(running)
        for kind in ("live", "kept"):
            turns = range(rounds) if kind == "live" else range(rounds, 2 * rounds)
            seconds[kind] = [
                _round(running, key, swarms, each * (turn + 1), kind == "kept") for turn in turns
            ]
            cpu[kind] = meter.each(rounds * GATEWAYS * each)
        lag = lag_ms(running)
        errors = [swarm.order("report")["errors"] for swarm in swarms]
    return {
        "connections": GATEWAYS * each,
        "gateways": GATEWAYS,
        "rate": running.settings.gateway.broadcast_per_second,
        "seconds": seconds,
        "goal_seconds": GOAL_SECONDS,
        "lag_ms": lag,
        "lag_ms_before": {name: one["max"] for name, one in before.items()},
        "goal_lag_ms": GOAL_LAG_MS,
        "cpu_us_per_connection": cpu,
        "errors": {words: count for one in errors for words, count in one.items()},
    }


def _round(running: Cluster, key: str, swarms: list[Commanded], each: int, keep: bool) -> float:
    """Broadcast; give the seconds until every client has heard `each` of them in all."""
    for swarm in swarms:
        swarm.begin("hear", count=each)
    body = json.dumps({"data": "x" * 100, "keep": keep}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(f"{running.center_url()}/v1/push/broadcast", body, headers)
    began = time.monotonic()
    urlopen(request, timeout=PATIENCE).close()
    ended: float = max(swarm.answer()["at"] for swarm in swarms)
    return round(ended - began, 3)
