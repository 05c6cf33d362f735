"""Kept messages: multicasts and messages to one user through the saver into Redis, and what they cost it."""

from __future__ import annotations

from typing import Any

from loadtest.bench.commands import Commanded

GOAL = 20_000


def measure(receivers: int = 10_000, rounds: int = 5) -> dict[str, Any]:
    """Give receivers per second of a multicast, the time of a unicast, bytes and CPU time in Redis."""
    with Commanded("loadtest.bench.keeping_end", {"receivers": receivers, "rounds": rounds}) as saver:
        return {"receivers": receivers, **saver.answer(), "goal_receivers_per_second": GOAL}
