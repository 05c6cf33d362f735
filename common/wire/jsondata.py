"""`data` as JSON, both ways.

    bin                                 {"$bin": "<base64>"}
    a map whose only key is $bin, $esc  {"$esc": {…}}: the map within is meant as it stands
    all else                            as it is

So each value has one JSON form, and of it comes the same value back.

Source: docs/protocol.md, section 1.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from common.errors import BadField
from common.wire.values import DEPTH_LIMIT, check_data

BIN: Final = "$bin"
ESC: Final = "$esc"
_MARKS: Final = ({BIN}, {ESC})
_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


def to_json(value: Any) -> Any:
    """Give what json.dumps may write of a checked value.

    Args:
        value: as `check_data` passes it.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is bytes:
        return {BIN: base64.b64encode(value).decode()}
    if kind is list:
        return [to_json(item) for item in value]
    made = {key: to_json(item) for key, item in value.items()}
    return {ESC: made} if made.keys() in _MARKS else made


def from_json(value: Any, field: str = "data") -> Any:
    """Give the data that a decoded JSON value stands for.

    Args:
        value: as json.loads gives it.
        field: what to name in the error.

    Raises:
        BadField: no data, by `check_data`, or a mark that stands for nothing.
    """
    data = from_marks(value, field)
    check_data(data, field)
    return data


def from_marks(value: Any, field: str) -> Any:
    """Give a decoded JSON value with its marks resolved; what else it holds is not checked.

    Raises:
        BadField: a mark that stands for nothing, or too deep.
    """
    return _from_json(value, field, DEPTH_LIMIT)


def _from_json(value: Any, field: str, depth: int) -> Any:
    """Convert one value; recursion ends when `depth`, the levels left, is used up."""
    kind = type(value)
    if kind is not dict and kind is not list:
        return value
    if kind is dict and value.keys() == {BIN}:
        return _bin(value[BIN], field)
    if kind is dict and value.keys() == {ESC}:
        value = value[ESC]
        if type(value) is not dict or value.keys() not in _MARKS:
            raise BadField(f"{ESC} holds no map whose only key is {BIN} or {ESC}", field=field)
    if depth == 0:
        raise BadField(f"more than {DEPTH_LIMIT} deep", field=field)
    if kind is list:
        return [_from_json(item, field, depth - 1) for item in value]
    return {key: _from_json(item, field, depth - 1) for key, item in value.items()}


def _bin(text: Any, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BadField(f"{BIN} is not base64", field=field) from None
