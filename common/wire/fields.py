"""Kinds of fields: what each takes, and the check made of it once at import.

A check gives the value as handlers want it, or raises BadField naming the field.
null is a value like any other: a field that is not there is left out, not null.

Source: docs/protocol.md, sections 1 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from common.errors import BadField
from common.wire.names import is_name, is_room
from common.wire.values import INTEGER_LIMIT, check_data, is_text

Check = Callable[[Any], Any]

CLIENT_BYTES = 64
"""Name and version of a client end up in logs."""
PROFILE_FIELDS = 64
"""Fields one `profile` may set: profiles are read 100 at a time."""
PROFILE_NAME_BYTES = 64


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request.

    Args:
        kind: a key of KINDS.
        default: what a handler finds when the field is left out; no meaning if required.
        low, high: bounds of a number, bytes of a text, items of a list.
    """

    name: str
    kind: str
    required: bool = True
    default: Any = None
    low: int = 0
    high: int = 0


def checker(field: Field) -> Check:
    """Give the check of one field: value in, value as handlers want it out."""
    return KINDS[field.kind](field)


def check_fields(fields: tuple[Field, ...]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Give the check of a body: all these fields, checked, with defaults for those left out.

    The check raises BadField with the first field that is missing or wrong; it ignores others,
    and does not change the body.
    """
    steps = tuple((field.name, checker(field), field.required, field.default) for field in fields)

    def check(body: dict[str, Any]) -> dict[str, Any]:
        checked = {}
        for name, accept, required, default in steps:
            if name in body:
                checked[name] = accept(body[name])
            elif required:
                raise BadField(f"{name} is missing", field=name)
            else:
                checked[name] = default
        return checked

    return check


def _refuse(field: Field, wanted: str) -> NoReturn:
    raise BadField(f"{field.name} must be {wanted}", field=field.name)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= INTEGER_LIMIT


def _text_within(value: Any, low: int, high: int) -> bool:
    """Tell whether this is a string of `low` to `high` bytes of UTF-8."""
    return isinstance(value, str) and is_text(value) and low <= len(value.encode()) <= high


def _name(field: Field) -> Check:
    def check(value: Any) -> Any:
        if is_name(value):
            return value
        _refuse(field, "1 to 64 of A-Z a-z 0-9 . _ - : @")

    return check


def _room(field: Field) -> Check:
    def check(value: Any) -> Any:
        if is_room(value):
            return value
        _refuse(field, "map/name")

    return check


def _text(field: Field) -> Check:
    def check(value: Any) -> Any:
        if _text_within(value, field.low, field.high):
            return value
        _refuse(field, f"a string of {field.low} to {field.high} bytes")

    return check


def _bool(field: Field) -> Check:
    def check(value: Any) -> Any:
        if value is True or value is False:
            return value
        _refuse(field, "a bool")

    return check


def _int(field: Field) -> Check:
    low, high = field.low, field.high

    def check(value: Any) -> Any:
        if type(value) is int and low <= value <= high:
            return value
        _refuse(field, f"an integer from {low} to {high}")

    return check


def _number(field: Field) -> Check:
    """An integer or a finite float within the bounds."""
    low, high = field.low, field.high

    def check(value: Any) -> Any:
        if type(value) in (int, float) and low <= value <= high:
            return value
        _refuse(field, f"a number from {low} to {high}")

    return check


def _data(field: Field) -> Check:
    name = field.name

    def check(value: Any) -> Any:
        check_data(value, name)
        return value

    return check


def _uids(field: Field) -> Check:
    """A list of uids; one named twice counts once, at its first place."""

    def check(value: Any) -> Any:
        if type(value) is list and field.low <= len(value) <= field.high and all(map(is_name, value)):
            return list(dict.fromkeys(value))
        _refuse(field, f"an array of {field.low} to {field.high} uids")

    return check


def _receivers(field: Field) -> Check:
    """One uid or a list of them; handlers get a list."""
    check_list = _uids(field)

    def check(value: Any) -> Any:
        if is_name(value):
            return [value]
        return check_list(value)

    return check


def _since(field: Field) -> Check:
    def check(value: Any) -> Any:
        if type(value) is dict:
            epoch, offset = value.get("epoch"), value.get("offset")
            if _is_count(epoch) and _is_count(offset):
                return {"epoch": epoch, "offset": offset}
        _refuse(field, "{epoch: integer from 0, offset: integer from 0}")

    return check


def _client(field: Field) -> Check:
    def check(value: Any) -> Any:
        if type(value) is dict:
            parts = {"name": value.get("name"), "version": value.get("version")}
            if all(_text_within(part, 0, CLIENT_BYTES) for part in parts.values()):
                return parts
        _refuse(field, f"{{name, version}}, each a string of at most {CLIENT_BYTES} bytes")

    return check


def _profile(field: Field) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not dict or len(value) > PROFILE_FIELDS:
            _refuse(field, f"a map of at most {PROFILE_FIELDS} fields")
        check_data(value, field.name)
        if not all(_text_within(key, 1, PROFILE_NAME_BYTES) for key in value):
            _refuse(field, f"a map whose keys have 1 to {PROFILE_NAME_BYTES} bytes")
        name = value.get("name", "-")
        if not _text_within(name, 1, PROFILE_NAME_BYTES) or not name.isprintable():
            _refuse(field, f"a map whose name is printable and of 1 to {PROFILE_NAME_BYTES} bytes")
        return value

    return check


KINDS: dict[str, Callable[[Field], Check]] = {
    "name": _name,
    "room": _room,
    "text": _text,
    "bool": _bool,
    "int": _int,
    "number": _number,
    "data": _data,
    "uids": _uids,
    "receivers": _receivers,
    "since": _since,
    "client": _client,
    "profile": _profile,
}
"""kind -> what makes the check of a field of it."""
