"""The cluster a bench measures: the real one, small, on ports and in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.cluster import Cluster, running

OPEN: dict[str, Any] = {
    "gateway.packets_per_second": 100_000,
    "gateway.bytes_per_second": 100_000_000,
    "gateway.publishes_per_second": 100_000,
    "world.publishes_per_second": 100_000,
}
"""Limits of one client out of the way of the one that publishes."""
ONE_GATEWAY: dict[str, Any] = {
    "cluster.gateways": 1,
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
    "cluster.maps": {"plaza": 1},
} | OPEN
"""One process of each group."""


@contextmanager
def cluster(settings: dict[str, Any]) -> Iterator[Cluster]:
    """Give a ready cluster; it ends with the block."""
    with running(ONE_GATEWAY | settings) as started:
        yield started


def plan(
    running: Cluster, count: int, carrier: str = "tcp", tls: bool = False, **more: Any
) -> dict[str, Any]:
    """Give the plan of a swarm at gateway-0 (loadtest/flock/plan.py); with TLS at any gateway."""
    places = running.places
    doors = {
        (False, False): places.own_web_port(0),
        (False, True): places.tls_web_port,
        (True, False): places.tcp_port(0),
        (True, True): places.tls_port,
    }
    where = {"host": places.host, "port": doors[carrier == "tcp", tls], "carrier": carrier, "tls": tls}
    return {**where, "count": count, "token_key": running.secrets.token_key, **more}
