"""Kinds of fields the API takes.

Each checks strictly: "5" is no number, 1 is no bool. What a name, a room or data is
stands in common/wire; here it gets its place in OpenAPI.
"""

from __future__ import annotations

from typing import Any

import msgpack
from apiflask import fields
from marshmallow import ValidationError
from marshmallow.validate import Length, Range

from common.errors import BadField
from common.wire.jsondata import from_json
from common.wire.names import is_name, is_room
from common.wire.tokens import TAGS_LIMIT

NAME = r"^[A-Za-z0-9._:@-]{1,64}$"
ROOM = r"^[A-Za-z0-9._:@-]{1,64}/[A-Za-z0-9._:@-]{1,64}$"
NAME_WORDS = "1 to 64 of A-Z a-z 0-9 . _ - : @"
RECEIVERS = 10_000
"""Users a request may name; `mailbox.receivers` bounds it too."""


class Name(fields.String):
    """A uid, device, key or tag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**_described(options, pattern=NAME))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not is_name(value):
            raise ValidationError(f"must be {NAME_WORDS}")
        return str(value)


class Room(fields.String):
    """A room as clients name it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**_described(options, pattern=ROOM))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not is_room(value):
            raise ValidationError("must be map/name")
        return str(value)


class Text(fields.String):
    """A string of valid UTF-8, of at most so many characters."""

    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__(validate=Length(max=limit), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be a string")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValidationError("is not valid UTF-8") from None
        return value


class Names(fields.List[Any]):
    """A list of names; one that stands there twice counts once."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(Name(), validate=Length(low, high), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValidationError("must be a list")
        wrong = next((place for place, name in enumerate(value) if not is_name(name)), None)
        if wrong is not None:
            raise ValidationError({wrong: [f"must be {NAME_WORDS}"]})
        return list(dict.fromkeys(value))


class Flag(fields.Boolean):
    """true or false."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise ValidationError("must be true or false")


class Whole(fields.Integer):
    """An integer within bounds; in a query, its decimal digits."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(validate=Range(low, high), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        is_digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 17
        if type(value) is int or is_digits:
            return int(value)
        raise ValidationError("must be an integer")


class Number(fields.Float):
    """A finite number above 0, and at most so large."""

    def __init__(self, high: float, **options: Any) -> None:
        super().__init__(validate=Range(0, high, min_inclusive=False), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) not in (int, float) or value != value:  # NaN passes every Range
            raise ValidationError("must be a number")
        return value


class Data(fields.Raw):
    """Protocol data in its JSON form; handlers get it packed."""

    def __init__(self, **options: Any) -> None:
        words = 'any JSON; bin is {"$bin": "<base64>"}, a map whose only key is $bin or $esc {"$esc": {…}}'
        super().__init__(allow_none=True, **_described(options, description=words))

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        """Give the packed data; null is data like any other."""
        if value is not None:
            return super().deserialize(value, attr, data, **kwargs)
        return msgpack.packb(None)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes:
        try:
            packed: bytes = msgpack.packb(from_json(value))
        except BadField as error:
            raise ValidationError(error.message) from None
        return packed


def tags(**options: Any) -> Names:
    """Give the field of a list of tags."""
    return Names(1, TAGS_LIMIT, **options)


def _described(options: dict[str, Any], **metadata: str) -> dict[str, Any]:
    return {**options, "metadata": {**metadata, **options.get("metadata", {})}}
