"""Idle clients on each carrier: RSS of one gateway before and after many users have logged in,
joined a room and gone quiet, as in the bench of memory.

What quiet means: a socket that says nothing; for `poll` a request that waits, for `sse` a stream
without events. Each carrier has a cluster of its own, whose gateway has held nothing before.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import rss_bytes
from loadtest.bench.memory import SETTLE
from tests.cluster.certificates import make_certificate

WEBSOCKET_GOAL = 6144
ROOM = 1000
"""Connections a gateway may have besides: a session and the request that waits for it count as two."""
CARRIERS: dict[str, tuple[str, bool]] = {
    "tcp": ("tcp", False),
    "ws.json": ("json", False),
    "ws.msgpack": ("msgpack", False),
    "tls": ("tcp", True),
    "wss.json": ("json", True),
    "wss.msgpack": ("msgpack", True),
    "poll": ("poll", False),
    "sse": ("sse", False),
}
"""name -> the flock's carrier, and whether over TLS."""


def measure(
    users: int = 15_000,
    rooms_of: int = 100,
    park_after: float = 1.5,
    carriers: str = " ".join(CARRIERS),
) -> dict[str, Any]:
    """Give bytes of RSS of the gateway for each connection, by carrier.

    Args:
        carriers: names of CARRIERS, with spaces between.
    """
    with tempfile.TemporaryDirectory(prefix="roost-tls-") as folder:
        certificate = Path(folder) / "gateway.pem"
        make_certificate(certificate)
        settings = {
            "gateway.park_after": park_after,
            "gateway.tls_certificate": str(certificate),
            "gateway.max_connections": 2 * users + ROOM,
        }
        each = {name: _hold(name, settings, users, rooms_of) for name in carriers.split()}
    return {
        "users": users,
        "rooms_of": rooms_of,
        "goal_bytes_each_websocket": WEBSOCKET_GOAL,
        "carriers": each,
        "errors": {name: found for name, held in each.items() if (found := held.pop("errors"))},
        "misplaced": sum(held.pop("misplaced") for held in each.values()),
    }


def _hold(name: str, settings: dict[str, Any], users: int, rooms_of: int) -> dict[str, Any]:
    carrier, tls = CARRIERS[name]
    with cluster(settings) as running:
        pid = running.pid("gateway-0")
        before = rss_bytes(pid)
        clients = plan(running, users, rooms_of=rooms_of, carrier=carrier, tls=tls)
        with Commanded("loadtest.flock", clients) as swarm:
            login = swarm.order("login")
            logged_in = rss_bytes(pid)
            time.sleep(settings["gateway.park_after"] + SETTLE)
            parked = rss_bytes(pid)
            report = swarm.order("report")
    return {
        "rss_before": before,
        "bytes_each_just_logged_in": (logged_in - before) // users,
        "bytes_each_parked": (parked - before) // users,
        "logins_per_second": round(users / login["seconds"]),
        "errors": report["errors"],
        "misplaced": report["counts"]["misplaced"],
    }
