"""Equal values as one object, so that a million connections hold one copy of "phone"."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)


class Shared(Generic[Value]):
    """Gives equal values as one object.

    Args:
        limit: values held; clients may send any, and beyond it each keeps its own copy.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[Value, Value] = {}

    def __call__(self, value: Value) -> Value:
        """Give the copy that all share."""
        if len(self._values) < self._limit:
            return self._values.setdefault(value, value)
        return self._values.get(value, value)
