"""Logins: `hello` with a token and `join` behind it, by as many users as fast as they are let in.

The ceiling: as many connections to a server that only accepts them.
"""

from __future__ import annotations

from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import cpu_seconds

GOAL = 3000


def measure(users: int = 10_000, rooms_of: int = 100) -> dict[str, Any]:
    """Give logins per second, and where their CPU time goes."""
    with cluster({"gateway.accept_per_second": 100_000}) as running:
        pids = {name: running.pid(name) for name in running.places.processes}
        pids["redis-0"] = running.pid("redis-0")
        with Commanded("loadtest.flock", plan(running, users, rooms_of=rooms_of)) as swarm:
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            done = swarm.order("login")
            cpu = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            report = swarm.order("report")
    cpu["clients"] = done["cpu"]
    return {
        "users": users,
        "rooms_of": rooms_of,
        "logins_per_second": round(users / done["seconds"]),
        "goal_logins_per_second": GOAL,
        "cpu_us_per_login": {name: round(used / users * 1e6) for name, used in cpu.items()},
        "logins_per_gateway_cpu_second": round(users / max(cpu["gateway-0"], 0.01)),
        "ceiling_connects_per_second": _ceiling(users),
        "errors": report["errors"],
    }


def _ceiling(users: int) -> int:
    with Commanded("loadtest.bench.bare", {"count": users}) as bare:
        port = bare.answer()["port"]
        with Commanded("loadtest.flock", {"port": port, "count": users, "raw": True}) as swarm:
            seconds: float = swarm.order("login")["seconds"]
            bare.answer()
            return round(users / seconds)
