"""Whether a quantity stayed flat: the rule, and nothing else.

    0 ──────── warm ──────────── 2 × warm ─ … ─ 3/4 ──────────── end
     filling up │  base: the median  │           │ last: the median

A quantity is flat when `last - base` is not above what its rule allows, the larger of
a share of the base and an absolute amount. Medians, so that a spike (a fork of Redis,
a collection of garbage) is no growth and a trough hides none; growth only, since less
is no leak. The slope is Theil and Sen's, the median of the slopes of all pairs after
`warm`: it decides nothing and tells the reader what an hour more would bring.

Source: P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau",
Journal of the American Statistical Association 63 (1968).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

PAIRED = 240
"""Points the slope is taken from, at most: their pairs are 29,000."""

Point = tuple[float, float]
"""Seconds since the start, value."""


class Rule(NamedTuple):
    """How much more the last quarter may have: a share of the base, but always `amount`."""

    share: float
    amount: float


class Verdict(NamedTuple):
    """What became of one quantity.

    Args:
        at_warm: the value when the base begins.
        base, last: medians.
        allowed: how far `last` may be above `base`.
        per_hour: slope after `warm`.
    """

    at_warm: float
    base: float
    last: float
    allowed: float
    per_hour: float
    flat: bool


def judge(points: Sequence[Point], warm: float, end: float, rule: Rule) -> Verdict:
    """Judge one quantity; one that was not seen in both windows is not flat.

    Args:
        points: in order of time.
        warm: seconds after which it must be flat.
        end: seconds the run took.
    """
    base = [value for at, value in points if warm <= at < 2 * warm]
    last = [value for at, value in points if at >= end * 0.75]
    if not base or not last:
        return Verdict(0.0, 0.0, 0.0, 0.0, 0.0, False)
    allowed = max(rule.share * median(base), rule.amount)
    growth = median(last) - median(base)
    per_hour = slope([point for point in points if point[0] >= warm]) * 3600
    return Verdict(base[0], median(base), median(last), allowed, per_hour, growth <= allowed)


def slope(points: Sequence[Point]) -> float:
    """Give the median slope of all pairs of points, per second; 0 for fewer than two."""
    step = -(-len(points) // PAIRED)
    some = points[::step] if step else []
    slopes = [
        (value - before) / (at - earlier)
        for place, (at, value) in enumerate(some)
        for earlier, before in some[:place]
        if at > earlier
    ]
    return median(slopes) if slopes else 0.0
