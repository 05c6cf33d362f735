"""Tables of handlers, filled by decoration.

    TABLE = Handlers("gateway ops")

    @TABLE.on("publish")
    def publish(...): ...

The decorated function stays an ordinary function. A second owner of a name is
refused at import, so a table always says exactly who answers what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

from common.errors import ConfigError

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Handlers:
    """Name -> function, each name owned once."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._table: dict[str, Callable[..., Any]] = {}

    def on(self, name: str) -> Callable[[Handler], Handler]:
        """Give a decorator that puts a function under `name`.

        Raises:
            ConfigError: the name already has an owner; the text says which.
        """

        def register(function: Handler) -> Handler:
            owner = self._table.get(name)
            if owner is not None:
                raise ConfigError(
                    f"{self.title}: {name!r} is already answered by "
                    f"{owner.__module__}.{owner.__qualname__}; remove one of the two"
                )
            self._table[name] = function
            return function

        return register

    def adopt(self, other: Handlers, part: Callable[[Any], Any]) -> None:
        """Take all of another table, whose functions have `part(first argument)` for their first one.

        Raises:
            ConfigError: a name has an owner already.
        """
        for name, function in other._table.items():
            self.on(name)(_for_part(function, part))

    def get(self, name: str) -> Callable[..., Any] | None:
        """Give the function for `name`, or None."""
        return self._table.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)


def _for_part(function: Callable[..., Any], part: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(whole: Any, *args: Any) -> Any:
        return function(part(whole), *args)

    return call
