"""Who was the limit of a phase: the load client, a server, the machine both share, or nobody.

A figure is only as good as the one who took it. A flock that is short of CPU reads late, and what
it then measures is itself.
"""

from __future__ import annotations

from typing import NamedTuple

BUSY = 0.85
"""Share of a core above which a process of one thread is at its end."""
IDLE = 0.05
"""Share of the machine below which everybody waits for everybody."""
OWN_SHARE = 0.5
"""Part of a measured time that may be the client's own lateness."""
SMALL_MS = 5.0
"""Times below this are never blamed on the client: its beat itself is no more exact."""


class Load(NamedTuple):
    """How busy all were in a phase.

    Args:
        client: (name, cores) of the busiest flock.
        server: (name, cores) of the busiest server process; ("", 0) where that is not known.
        idle: share of the machine that was idle; 1 where that is not known.
        lag_ms: p99 of the flocks' own lateness.
        delivery_ms: p99 of what they measured; 0 when they measured nothing.
    """

    client: tuple[str, float]
    server: tuple[str, float] = ("", 0.0)
    idle: float = 1.0
    lag_ms: float = 0.0
    delivery_ms: float = 0.0


class Verdict(NamedTuple):
    """Who: "client", "server", "machine" or "none"; and why, in words."""

    who: str
    why: str


def judge(load: Load) -> Verdict:
    """Say who was the limit; the client is suspected first."""
    name, cores = load.client
    if cores >= BUSY:
        return Verdict("client", f"{name} used {cores:.2f} of a core: the load client was at its end")
    if load.delivery_ms >= SMALL_MS and load.lag_ms >= OWN_SHARE * load.delivery_ms:
        return Verdict(
            "client",
            f"of {load.delivery_ms:.0f} ms measured (p99) up to {load.lag_ms:.0f} ms are "
            "the load client's own lateness",
        )
    server, server_cores = load.server
    if server_cores >= BUSY:
        return Verdict("server", f"{server} used {server_cores:.2f} of a core")
    if load.idle < IDLE:
        return Verdict("machine", f"the machine was {1 - load.idle:.0%} busy, with clients and servers on it")
    return Verdict("none", "there was time left everywhere")
