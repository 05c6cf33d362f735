from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadField
from common.wire.jsondata import from_json, to_json
from common.wire.values import DEPTH_LIMIT, INTEGER_LIMIT

PAIRS: dict[str, tuple[Any, Any]] = {
    "null": (None, None),
    "text": ("ü", "ü"),
    "float": (1.5, 1.5),
    "bin": (b"\x00\xff", {"$bin": "AP8="}),
    "empty bin": (b"", {"$bin": ""}),
    "bin within": ({"a": [b"x"]}, {"a": [{"$bin": "eA=="}]}),
    "a map that looks like bin": ({"$bin": "eA=="}, {"$esc": {"$bin": "eA=="}}),
    "a map that looks like an escape": ({"$esc": 1}, {"$esc": {"$esc": 1}}),
    "both, within each other": (
        {"$esc": {"$bin": b"x"}},
        {"$esc": {"$esc": {"$esc": {"$bin": {"$bin": "eA=="}}}}},
    ),
    "a mark beside another key": ({"$bin": 1, "b": 2}, {"$bin": 1, "b": 2}),
    "empty map": ({}, {}),
}


@pytest.mark.parametrize("data, shape", PAIRS.values(), ids=PAIRS)
def test_data_has_one_json_form_and_comes_back(data: Any, shape: Any):
    assert to_json(data) == shape
    assert from_json(shape) == data


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


WRONG: dict[str, Any] = {
    "bin that is no text": {"$bin": 5},
    "bin that is no base64": {"$bin": "a"},
    "bin with other characters": {"$bin": "eA==\n"},
    "bin beyond ASCII": {"$bin": "é"},
    "escape of no map": {"$esc": [1]},
    "escape that was not needed": {"$esc": {"a": 1}},
    "an integer too large": [INTEGER_LIMIT + 1],
    "infinity": {"a": float("inf")},
    "half a surrogate": "\ud800",
    "too deep": deep(DEPTH_LIMIT + 1),
    "much too deep": deep(900),
}


@pytest.mark.parametrize("shape", WRONG.values(), ids=WRONG)
def test_what_stands_for_nothing_is_refused_by_name(shape: Any):
    with pytest.raises(BadField) as caught:
        from_json(shape, "args")
    assert caught.value.facts["field"] == "args"


def test_data_may_be_as_deep_as_the_protocol_says_also_escaped():
    assert from_json(deep(DEPTH_LIMIT)) == deep(DEPTH_LIMIT)
    value: Any = 1
    for _ in range(DEPTH_LIMIT):
        value = {"$esc": value}
    assert from_json(to_json(value)) == value


keys = st.sampled_from(["$bin", "$esc", "a"]) | st.text(max_size=3)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-INTEGER_LIMIT, INTEGER_LIMIT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=10,
)


@given(values)
def test_all_data_survives_the_way_through_json(data: Any):
    back = from_json(json.loads(json.dumps(to_json(data))))
    assert back == data
    assert repr(back) == repr(data)
