"""Room messages at a steady rate, end to end: from when one was due until a member has read it.

Members publish at random into their rooms of 100. The load client is in the figure, its own lateness
too, which `lag_ms` shows; `limit` says who was at the end of its strength, if anybody was.
"""

from __future__ import annotations

import time
from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import processor_seconds
from loadtest.bench.meter import Meter, lag_ms
from loadtest.flock.bottleneck import Load, judge
from loadtest.flock.histogram import Histogram

GOALS_MS = {"p50": 10, "p99": 50}
WARM_UP = 2.0
"""Seconds; connections have parked by then and wake for the first messages."""


def measure(
    rate: int = 50_000,
    seconds: float = 20.0,
    clients: int = 5_000,
    rooms_of: int = 100,
    bytes: int = 60,
    warm_up: float = WARM_UP,
) -> dict[str, Any]:
    """Give the times of deliveries, and who was the limit.

    Args:
        rate: deliveries a second.
        bytes: of padding in `data`, which has a stamp of some 30 B besides.
    """
    members = min(rooms_of, clients)
    with (
        cluster({}) as running,
        Commanded("loadtest.flock", plan(running, clients, rooms_of=members)) as swarm,
    ):
        swarm.order("login")
        meter = Meter(running)
        swarm.order("publish", rate=rate / members, bytes=bytes)
        swarm.order("rest", seconds=warm_up)
        before, (busy, idle) = swarm.order("report"), processor_seconds()
        began = time.monotonic()
        meter.each(1)
        swarm.order("rest", seconds=seconds)
        cpu, (busy_after, idle_after) = meter.each(1), processor_seconds()
        after, took = swarm.order("report"), time.monotonic() - began
        swarm.order("publish", rate=0)
        swarm.order("rest", seconds=min(1.0, seconds))
        last = swarm.order("report")
        lateness = lag_ms(running)
    cores = {name: round(used / 1e6 / took, 3) for name, used in cpu.items()}
    busiest = max(cores, key=lambda name: cores[name])
    delivery, lag = summary(after, "delivery"), summary(after, "lag")
    share_idle = (idle_after - idle) / (busy_after - busy + idle_after - idle)
    client_cores = (after["cpu"] - before["cpu"]) / took
    limit = judge(
        Load(("client", client_cores), (busiest, cores[busiest]), share_idle, lag["p99"], delivery["p99"])
    )
    return {
        "clients": clients,
        "rooms_of": members,
        "rate": rate,
        "deliveries_per_second": round((after["counts"]["messages"] - before["counts"]["messages"]) / took),
        "delivery_ms": delivery,
        "goals_ms": GOALS_MS,
        "lag_ms": lag,
        "cores": {"client": round(client_cores, 3)} | cores,
        "idle": round(share_idle, 3),
        "loop_lag_ms": lateness,
        "limit": limit._asdict(),
        "published": last["counts"]["publishes"],
        "received": last["counts"]["messages"],
        "misplaced": last["counts"]["misplaced"],
        "errors": last["errors"],
    }


def summary(report: dict[str, Any], name: str) -> dict[str, float]:
    """Give the percentiles of one of a flock's times."""
    histogram = Histogram()
    histogram.add(report["times"].get(name, {}))
    return histogram.summary()
