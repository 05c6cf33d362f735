from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.patterns import fits

CASES = {
    "equal": ("plaza/lobby", "plaza/lobby", True),
    "no star is no prefix": ("plaza", "plaza/lobby", False),
    "star alone": ("*", "plaza/lobby", True),
    "star fits nothing": ("plaza/lobby*", "plaza/lobby", True),
    "star crosses a slash": ("p*y", "plaza/lobby", True),
    "prefix": ("plaza/keep.*", "plaza/keep.1", True),
    "other prefix": ("plaza/keep.*", "plaza/kept", False),
    "head and tail must not overlap": ("aba*aba", "aba", False),
    "a dot is a dot": ("plaza/keep.*", "plaza/keepX1", False),
    "case differs": ("Plaza/*", "plaza/x", False),
    "the tail is the last one": ("*ab", "abab", True),
    "inner pieces in order": ("*a*b*", "xbxa", False),
    "two stars side by side": ("a**b", "ab", True),
    "empty pattern": ("", "a", False),
    "both empty": ("", "", True),
}


@pytest.mark.parametrize(("pattern", "text", "expected"), CASES.values(), ids=CASES.keys())
def test_a_pattern_fits(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


@given(st.text("ab*"), st.text("ab"))
def test_it_agrees_with_a_regular_expression(pattern: str, text: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert fits(pattern, text) == (re.fullmatch(expression, text, re.DOTALL) is not None)


def test_a_hostile_pattern_of_many_stars_is_answered_at_once() -> None:
    before = time.perf_counter()
    assert not fits("*a" * 120 + "*b", "a" * 129)
    assert time.perf_counter() - before < 0.05
