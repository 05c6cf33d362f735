"""What `data` may hold, checked once on the way in.

null, bool, integer within ±(2^53-1), finite float, valid UTF-8 string, array, map
with string keys, bin; arrays and maps at most 32 deep; no extension types. Past this
check nobody looks inside again, so any codec can carry what passed.

Source: docs/protocol.md, section 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any, Final

from common.errors import BadField

INTEGER_LIMIT: Final = 2**53 - 1
"""Largest magnitude of an integer: what a double, and so JavaScript, holds exactly."""
DEPTH_LIMIT: Final = 32
"""Arrays and maps within each other: bounds the recursion of every decoder."""

_PLAIN = frozenset((type(None), bool, bytes))


def check_data(value: Any, field: str = "data") -> None:
    """Pass silently when a decoded value may travel as `data`.

    Args:
        value: as a codec decoded it; dict, list, str, bytes, int, float, bool, None.
        field: what to name in the error.

    Raises:
        BadField: with the field; the message says what is wrong.
    """
    _check(value, field, DEPTH_LIMIT)


def is_text(value: str) -> bool:
    """Tell whether a string can be written as UTF-8 (it holds no lone surrogate)."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check(value: Any, field: str, depth: int) -> None:
    """Check one value; recursion ends when `depth`, the levels left, is used up."""
    kind = type(value)
    if kind is str:
        if not is_text(value):
            raise BadField("string is not valid UTF-8", field=field)
    elif kind is int:
        if not -INTEGER_LIMIT <= value <= INTEGER_LIMIT:
            raise BadField("integer beyond ±(2^53-1)", field=field)
    elif kind is float:
        if not isfinite(value):
            raise BadField("float is not finite", field=field)
    elif kind is dict:
        _check_keys(value, field)
        _check_items(value.values(), field, depth)
    elif kind is list:
        _check_items(value, field, depth)
    elif kind not in _PLAIN:
        raise BadField("type is not allowed in data", field=field)


def _check_keys(value: dict[Any, Any], field: str) -> None:
    for key in value:
        if type(key) is not str or not is_text(key):
            raise BadField("map key is not a string", field=field)


def _check_items(items: Iterable[Any], field: str, depth: int) -> None:
    if depth == 0:
        raise BadField(f"more than {DEPTH_LIMIT} deep", field=field)
    for item in items:
        if type(item) not in _PLAIN:
            _check(item, field, depth - 1)
