"""TLS handshakes of one gateway, new and resumed: as fast as a client on the other core asks for them.

The client leaves after each; what is measured is connecting, shaking hands and leaving.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.bench.clusters import cluster
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import cpu_seconds
from tests.cluster.certificates import make_certificate

KEYS = {"P-256": 0, "RSA-2048": 2048}
"""Kind of certificate -> bits of RSA."""


def measure(count: int = 4000, rounds: int = 5, keys: str = " ".join(KEYS)) -> dict[str, Any]:
    """Give handshakes per second, and per CPU second of the gateway, by certificate and port.

    Args:
        count: handshakes in a round. One round is one figure of the median.
        keys: kinds of certificate, names of KEYS, with spaces between.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="roost-tls-") as folder:
        for kind in keys.split():
            certificate = Path(folder) / f"{kind}.pem"
            make_certificate(certificate, KEYS[kind])
            settings = {
                "gateway.tls_certificate": str(certificate),
                "gateway.accept_per_second": 100_000,
            }
            with cluster(settings) as running:
                pid = running.pid("gateway-0")
                places = running.places
                for door, port in (("tcp", places.tls_port), ("https", places.tls_web_port)):
                    found[f"{kind}, {door}"] = _shake(pid, port, count, rounds)
    return {"count": count, "rounds": rounds, "handshakes": found}


def _shake(pid: int, port: int, count: int, rounds: int) -> dict[str, Any]:
    with Commanded("loadtest.handshakes", {"port": port}) as shaker:
        shaker.order("shake", count=1, resumed=False)
        taken: dict[str, list[dict[str, Any]]] = {"new": [], "resumed": []}
        for _ in range(rounds):
            for kind, done in taken.items():
                began = cpu_seconds(pid)
                counts = shaker.order("shake", count=count, resumed=kind == "resumed")
                done.append(counts | {"server_cpu": max(cpu_seconds(pid) - began, 0.01)})
    return {
        kind: {
            "per_second": round(median(count / one["seconds"] for one in done)),
            "per_gateway_cpu_second": round(median(count / one["server_cpu"] for one in done)),
            "resumed": sum(one["resumed"] for one in done) / (rounds * count),
        }
        for kind, done in taken.items()
    }
