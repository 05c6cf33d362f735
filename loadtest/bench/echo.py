"""Echo: pings of clients that each have one under way, parked and talking.

A parked connection's ping is answered by the loop's callback, one in each 0.1 s; a
talking one's goes through its greenlet and the decoder. So many clients take turns
that a parked one does not ping more often. The ceiling is a callback that sends back what it
has read.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import cpu_seconds

PARKED, TALKING = 0.2, 60.0
"""`park_after` of the two gateways: parked before the first ping, and not during the whole bench."""


def measure(clients: int = 15_000, seconds: float = 2.0, rounds: int = 5) -> dict[str, Any]:
    """Give round trips per CPU second of the server: bare, parked, talking."""
    with ExitStack() as stack:
        servers = {
            "bare": _bare(stack, clients),
            "parked": _gateway(stack, PARKED, clients),
            "talking": _gateway(stack, TALKING, clients),
        }
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(rounds):
            for name, (swarm, pid) in servers.items():
                rates[name].append(_rate(swarm, pid, seconds))
    bare, parked, talking = (round(median(rates[name])) for name in ("bare", "parked", "talking"))
    return {
        "clients": clients,
        "bare_per_cpu_second": bare,
        "parked_per_cpu_second": parked,
        "parked_of_bare": round(parked / bare, 3),
        "talking_per_cpu_second": talking,
        "talking_of_bare": round(talking / bare, 3),
    }


def _bare(stack: ExitStack, clients: int) -> tuple[Commanded, int]:
    """Give the clients of a bare server, and its pid."""
    bare = stack.enter_context(Commanded("loadtest.bench.bare", {"count": clients, "echo": True}))
    port = bare.answer()["port"]
    swarm = stack.enter_context(Commanded("loadtest.flock", {"port": port, "count": clients, "raw": True}))
    swarm.order("login")
    return swarm, bare.pid


def _gateway(stack: ExitStack, park_after: float, clients: int) -> tuple[Commanded, int]:
    """Give the clients of a gateway, logged in, and its pid."""
    running = stack.enter_context(cluster({"gateway.park_after": park_after}))
    swarm = stack.enter_context(Commanded("loadtest.flock", plan(running, clients)))
    swarm.order("login")
    if park_after < TALKING:
        swarm.order("rest", seconds=1 + 2 * park_after)
    return swarm, running.pid("gateway-0")


def _rate(swarm: Commanded, pid: int, seconds: float) -> float:
    began = cpu_seconds(pid)
    trips: int = swarm.order("echo", seconds=seconds)["trips"]
    return trips / max(cpu_seconds(pid) - began, 0.01)
