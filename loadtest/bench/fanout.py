"""Fan-out: room messages to many members of one gateway, the whole way real.

Single messages are paced: the next is published when every member has the one before,
so nothing gathers. The ceiling is a bare loop of `send` with such a message over as many
connections, paced and read in the same way, its rounds in turn with the others. Figures are per
CPU second of the sending process: the reading clients share the machine.
"""

from __future__ import annotations

from contextlib import ExitStack
from statistics import median
from typing import Any

from loadtest.bench.clusters import cluster, plan
from loadtest.bench.commands import Commanded
from loadtest.bench.machine import cpu_seconds

GATHERED = 16
WARM_UP = 3
"""Messages before the first that counts."""
SINGLE_GOAL = 0.7
GATHERED_GOAL = 4.0


def measure(
    members: int = 10_000,
    bytes: int = 100,
    messages: int = 40,
    bursts: int = 10,
    rounds: int = 5,
    carrier: str = "tcp",
) -> dict[str, Any]:
    """Give deliveries per CPU second, single and gathered, and the bare loop's sends.

    Args:
        bytes: size of `data`.
        messages: single ones in a round. One round is one figure of the median.
        bursts: of 16 messages, in a round.
        carrier: of the members: tcp, json or msgpack (WebSocket). The bare loop speaks TCP always, and
            `frame_bytes` are those of TCP frames.
    """
    with ExitStack() as stack:
        running = stack.enter_context(cluster({}))
        pid = running.pid("gateway-0")
        clients = plan(running, members, carrier, rooms_of=members)
        swarm = stack.enter_context(Commanded("loadtest.flock", clients))
        swarm.order("login")
        swarm.order("rounds", rounds=WARM_UP, gathered=1, bytes=bytes)
        bare = stack.enter_context(Commanded("loadtest.bench.bare", {"count": members, "bytes": bytes}))
        port = bare.answer()["port"]
        readers = Commanded("loadtest.flock", {"port": port, "count": members, "raw": True})
        stack.enter_context(readers).order("login")
        bare.answer()
        readers.order("rounds", rounds=WARM_UP, gathered=1, bytes=bytes)
        single, gathered, ceiling = [], [], []
        for _ in range(rounds):
            ceiling.append(_round(readers, bare.pid, messages, 1, bytes))
            single.append(_round(swarm, pid, messages, 1, bytes))
            gathered.append(_round(swarm, pid, bursts, GATHERED, bytes))
        report = swarm.order("report")
    bare_rate, single_rate, gathered_rate = _rate(ceiling), _rate(single), _rate(gathered)
    return {
        "members": members,
        "carrier": carrier,
        "frame_bytes": [round(r[-1]["octets"] / r[-1]["messages"], 1) for r in (single, ceiling)],
        "received": report["counts"]["messages"],
        "misplaced": report["counts"]["misplaced"],
        "errors": report["errors"],
        "bare_sends_per_cpu_second": bare_rate,
        "single_per_cpu_second": single_rate,
        "single_of_bare": round(single_rate / bare_rate, 3),
        "single_goal": SINGLE_GOAL,
        "gathered_per_cpu_second": gathered_rate,
        "gathered_of_single": round(gathered_rate / single_rate, 2),
        "gathered_goal": GATHERED_GOAL,
        "messages_per_read": round(
            sum(r["messages"] for r in gathered) / sum(r["reads"] for r in gathered), 1
        ),
        "single_seconds_each": round(median(r["seconds"] / messages for r in single), 4),
        "gathered_per_second": round(median(r["messages"] / r["seconds"] for r in gathered)),
    }


def _round(swarm: Commanded, pid: int, messages: int, gathered: int, bytes: int) -> dict[str, Any]:
    """Publish, and put the CPU seconds of the sending process to the swarm's counts."""
    began = cpu_seconds(pid)
    counts = swarm.order("rounds", rounds=messages, gathered=gathered, bytes=bytes)
    return counts | {"server_cpu": max(cpu_seconds(pid) - began, 0.01)}


def _rate(rounds: list[dict[str, Any]]) -> int:
    rates: list[float] = [counts["messages"] / counts["server_cpu"] for counts in rounds]
    return round(median(rates))
