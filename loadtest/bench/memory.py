"""Memory of idle connections: RSS of one gateway before and after many users have logged in,
joined a room and gone quiet.

The ceiling: the same number of sockets held by a process that keeps nothing but an io
watcher and the socket for each.
"""

from __future__ import annotations

import time
from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import rss_bytes

GOAL = 2560
SETTLE = 1.5
"""Seconds beyond `park_after` until every greenlet has been given back."""


def measure(users: int = 15_000, rooms_of: int = 100, park_after: float = 1.5) -> dict[str, Any]:
    """Give bytes of RSS per connection, parked, of the gateway and of the bare holder."""
    with cluster({"gateway.park_after": park_after}) as running:
        pid = running.pid("gateway-0")
        before = rss_bytes(pid)
        with Commanded("loadtest.flock", plan(running, users, rooms_of=rooms_of)) as swarm:
            login = swarm.order("login")
            logged_in = rss_bytes(pid)
            time.sleep(park_after + SETTLE)
            parked = rss_bytes(pid)
            report = swarm.order("report")
    return {
        "users": users,
        "rooms_of": rooms_of,
        "rss_before": before,
        "bytes_each_just_logged_in": (logged_in - before) // users,
        "bytes_each_parked": (parked - before) // users,
        "goal_bytes_each": GOAL,
        "logins_per_second": round(users / login["seconds"]),
        "ceiling_bytes_each": _ceiling(users),
        "errors": report["errors"],
        "misplaced": report["counts"]["misplaced"],
    }


def _ceiling(users: int) -> int:
    with Commanded("loadtest.bench.bare", {"count": users}) as bare:
        port = bare.answer()["port"]
        before = rss_bytes(bare.pid)
        with Commanded("loadtest.flock", {"port": port, "count": users, "raw": True}) as swarm:
            swarm.order("login")
            bare.answer()
            return (rss_bytes(bare.pid) - before) // users
