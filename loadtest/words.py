"""Sizes of a run as words on the command line, "name=value"."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Size = TypeVar("Size", bound=DataclassInstance)


def changed(size: Size, words: Sequence[str], read: Callable[[str], Any] = json.loads) -> Size:
    """Give another size, with the fields that words name.

    Args:
        read: gives a value for its text.

    Raises:
        ValueError: a word is not of that form, names nothing, or has a value that cannot be read.
    """
    names = [field.name for field in fields(size)]
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in names:
            raise ValueError(f"{word!r}: must be name=value; names: {', '.join(names)}")
        changes[name] = read(value)
    return replace(size, **changes)


def json_or_text(value: str) -> Any:
    """Read JSON; what is none is taken for a text."""
    try:
        return json.loads(value)
    except ValueError:
        return value
