from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.c1000k.plots import chart, short, ticks


@given(st.floats(1e-6, 1e12))
def test_an_axis_reaches_from_0_to_just_above_the_highest(top: float) -> None:
    levels = ticks(top)
    assert levels[0] == 0
    assert levels[-2] <= top * (1 + 1e-9)
    assert levels[-1] >= top * (1 - 1e-9)
    assert 2 <= len(levels) <= 8


@pytest.mark.parametrize(("value", "text"), [(1_500_000, "1.5M"), (20_000, "20k"), (12.5, "12.5"), (0, "0")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_a_chart_is_well_formed_and_has_every_line_and_mark_by_name() -> None:
    text = chart("Memory", "MiB", {"a<b": [(0, 1), (5, 9)], "one": [(2, 2)], "none": []}, {"hold": 3.0})
    root = ElementTree.fromstring(text.partition("\n")[2])
    words = [element.text for element in root]
    assert {"a<b", "one", "none", "hold"} <= set(words)
    lines = [element for element in root if element.tag == "polyline"]
    assert len(lines) == 3
    assert len(lines[0].attrib["points"].split()) == 2


def test_a_chart_without_a_point_is_still_one() -> None:
    assert "</svg>" in chart("Nothing", "", {}, {})
