from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from loadtest.soak.verdict import Rule, judge, slope

WARM, END = 600.0, 3600.0
RULE = Rule(0.05, 4.0)

SERIES: dict[str, tuple[Callable[[float], float], bool]] = {
    "constant": (lambda at: 100.0, True),
    "noise around a level": (lambda at: 100.0 + random.Random(at).uniform(-20, 20), True),
    "filling up before it is to be flat": (lambda at: min(at, WARM), True),
    "less and less": (lambda at: 100.0 - at / 100, True),
    "a spike in the last quarter": (lambda at: 100.0 + 900.0 * (3000 <= at < 3200), True),
    "growth below the share": (lambda at: 100.0 + at / 1000, True),
    "growth below the amount, above the share": (lambda at: 10.0 + at / 1000, True),
    "a leak": (lambda at: 100.0 + at / 300, False),
    "a leak under noise": (lambda at: 100.0 + at / 200 + random.Random(at).uniform(-20, 20), False),
    "a step that stays": (lambda at: 100.0 + 10.0 * (at > 2000), False),
    "a leak from nothing": (lambda at: at / 500, False),
}


@pytest.mark.parametrize("name", SERIES)
def test_growth_from_the_base_to_the_last_quarter_decides(name: str) -> None:
    value, flat = SERIES[name]
    points = [(at * 10.0, value(at * 10.0)) for at in range(361)]
    assert judge(points, WARM, END, RULE).flat is flat


def test_the_figures_are_medians_of_both_windows_and_what_was_allowed() -> None:
    points = [(at * 10.0, at * 10.0) for at in range(361)]
    verdict = judge(points, WARM, END, Rule(0.1, 4.0))
    assert (verdict.at_warm, verdict.base, verdict.last) == (600.0, 895.0, 3150.0)
    assert verdict.allowed == pytest.approx(89.5)
    assert verdict.per_hour == pytest.approx(3600.0)


UNSEEN = {"never": [], "only before the base": [(10.0, 1.0)], "not at the end": [(700.0, 1.0), (800.0, 1.0)]}


@pytest.mark.parametrize("name", UNSEEN)
def test_what_was_not_seen_in_both_windows_is_not_flat(name: str) -> None:
    assert not judge(UNSEEN[name], WARM, END, RULE).flat


def test_a_spike_does_not_move_the_slope() -> None:
    points = [(float(at), 2.0 * at + (1e6 if at == 50 else 0.0)) for at in range(1000)]
    assert slope(points) == pytest.approx(2.0)
    assert slope(points[:1]) == slope([]) == 0.0
