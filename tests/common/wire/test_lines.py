from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadField
from common.wire.lines import Line, line_key, parse_line, split_key
from common.wire.names import is_name

lines = st.builds(Line, st.integers(0, 9_999), st.integers(1, 10**16 - 1), st.booleans())


@given(lines)
def test_a_line_is_a_name_that_says_what_it_was_made_of(line: Line):
    assert is_name(str(line))
    assert parse_line(str(line)) == line
    assert split_key(line_key("demo/arena", line)) == ("demo/arena", line)


def test_lines_and_instances_are_told_apart():
    assert str(Line(2, 1)) == "2.1"
    assert str(Line(2, 17, made=True)) == "2:17"


WRONG = {
    "nothing": "",
    "no number": "2.",
    "no host": ".1",
    "a number of more digits than needed": "2.01",
    "a host of more digits than needed": "02.1",
    "number nought": "2.0",
    "signs": "-1.1",
    "other digits": "2.١",
    "a tail": "2.1\n",
    "too long": "2." + "1" * 17,
    "another separator": "2/1",
    "no text": 2.1,
    "none": None,
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_names_no_line_is_refused(text: Any):
    with pytest.raises(BadField) as caught:
        parse_line(text)
    assert caught.value.facts == {"field": "line"}
