"""What a soak is judged by, and what makes it fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loadtest.soak.sampling import Sample
from loadtest.soak.verdict import Rule, Verdict, judge

MIB = 1_048_576
RATE_SHARE = 0.95
"""Of the reconnects asked for, so many must have happened."""
ERRORS_SHARE = 1e-5
"""Of the requests, so many may have gone wrong."""

RULES: dict[str, Rule] = {
    "rss": Rule(0.05, 4 * MIB),
    "descriptors": Rule(0.02, 10),
    "greenlets": Rule(0.1, 20),
    "watchers": Rule(0.02, 20),
    "keys": Rule(0.02, 100),
    "memory": Rule(0.05, MIB),
    "clients": Rule(0.0, 4),
    "queue": Rule(0.5, 1_000),
}
"""Quantity -> how much more its last quarter may have. Rss moves by pages of the allocator, the others by
what is under way at the moment of a sample. Everything else that is sampled is shown and not judged."""
IN_MIB = ("rss", "memory", "audit log")
NOT_JUDGED = Rule(float("inf"), 0.0)


def rule_of(quantity: str) -> Rule | None:
    """Give the rule a quantity is judged by; None: it is only shown."""
    return RULES.get("queue" if quantity.startswith("queue ") else quantity)


def verdicts(samples: list[tuple[float, Sample]], warm: float, end: float) -> dict[str, dict[str, Verdict]]:
    """Judge everything that was sampled: process -> quantity -> verdict.

    Args:
        samples: (seconds since the crowd was complete, values) in order.
        warm, end: seconds.
    """
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for at, sample in samples:
        for process, values in sample.items():
            for quantity, value in values.items():
                points.setdefault(process, {}).setdefault(quantity, []).append((at, value))
    return {
        process: {
            quantity: judge(series, warm, end, rule_of(quantity) or NOT_JUDGED)
            for quantity, series in quantities.items()
        }
        for process, quantities in points.items()
    }


def failures(
    judged: Mapping[str, Mapping[str, Verdict]], crowd: Mapping[str, Any], wanted: float, answers: int
) -> list[str]:
    """Say what makes the run fail; [] when nothing does.

    Args:
        crowd: what the crowd reported, with `reconnects_per_second`.
        wanted: reconnects a second asked for.
        answers: packets that came.
    """
    said = [
        f"{process}: {quantity} is not flat: {shown(quantity, v.base)} → {shown(quantity, v.last)}, "
        f"allowed + {shown(quantity, v.allowed)}"
        for process, quantities in judged.items()
        for quantity, v in quantities.items()
        if rule_of(quantity) and not v.flat
    ]
    rate = crowd["reconnects_per_second"]
    if rate < RATE_SHARE * wanted:
        said.append(f"{rate:.1f} reconnects a second instead of {wanted:g}")
    wrong = sum(crowd["errors"].values())
    if wrong > ERRORS_SHARE * answers:
        said.append(f"{wrong} errors in {answers:,} answers")
    return said


def shown(quantity: str, value: float) -> str:
    """Give a value as it is read: bytes of memory in MiB."""
    if quantity in IN_MIB:
        return f"{value / MIB:.1f} MiB"
    return f"{value:,.0f}"
