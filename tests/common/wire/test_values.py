from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgpack import ExtType, Timestamp

from common.errors import BadField
from common.wire.values import check_data, is_text

MOST = 2**53 - 1
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MOST, MOST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    | st.binary(max_size=10)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
BAD: dict[str, Any] = {
    "integer too large": MOST + 1,
    "integer too small": -MOST - 1,
    "2^63": 2**63,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "lone surrogate": "\ud800",
    "escaped byte": "a\udcff",
    "extension type": ExtType(5, b"x"),
    "timestamp": Timestamp(1),
    "number as key": {1: 2},
    "bin as key": {b"a": 1},
    "lone surrogate as key": {"\udcff": 1},
    "tuple": (1, 2),
    "object": object(),
}
WRAPS: dict[str, Any] = {
    "bare": lambda value: value,
    "array": lambda value: [1, value],
    "map": lambda value: {"a": {"b": value}},
}
TEXTS = {"": True, "abc": True, "é😀": True, "\ud800": False, "é\udcff": False}


def nested(depth: int, kind: type) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@given(VALUES)
def test_what_the_protocol_allows_passes(value: Any) -> None:
    check_data(value)


@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [1, v], lambda v: {"a": {"b": v}}], ids=["bare", "array", "map"]
)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_anything_else_is_a_bad_field_wherever_it_stands(value: Any, wrap: Any) -> None:
    with pytest.raises(BadField) as caught:
        check_data(wrap(value), "args")
    assert caught.value.facts == {"field": "args"}


@pytest.mark.parametrize("kind", [list, dict])
def test_32_deep_passes_and_33_does_not(kind: type) -> None:
    check_data(nested(32, kind))
    with pytest.raises(BadField, match="deep"):
        check_data(nested(33, kind))


def test_deep_nesting_ends_at_the_limit_not_at_the_interpreters() -> None:
    with pytest.raises(BadField, match="deep"):
        check_data(nested(100_000, list))


@pytest.mark.parametrize(("text", "valid"), TEXTS.items())
def test_text_is_what_utf8_can_write(text: str, valid: bool) -> None:
    assert is_text(text) is valid
