from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.plots import bars, chart, short, ticks


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


def test_bars_are_as_long_as_their_values_and_one_without_a_value_is_left_out() -> None:
    rows = {"a<b": {"rooms": 100.0, "one": 50.0}, "two": {"one": 25.0}}
    root = ElementTree.fromstring(bars("Rate", "a second", rows))
    svg = "{http://www.w3.org/2000/svg}"
    assert {"Rate", "a<b", "two", "rooms", "one"} <= {element.text for element in root}
    lengths = [float(element.attrib["width"]) for element in root if element.tag == f"{svg}rect"][3:]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.2)
    assert lengths[1] == pytest.approx(2 * lengths[2], abs=0.2)
    assert len(lengths) == 3


def test_bars_of_nothing_are_still_an_image() -> None:
    assert ElementTree.fromstring(bars("Nothing", "", {})) is not None
