"""What players can do in a map, declared by decoration.

    class Meadow(Space):
        @action("walk", Field("dx", "number", low=-1, high=1), Field("dy", "number", low=-1, high=1))
        def walk(self, player, dx, dy): ...

        @method("score")
        def score(self, player): return ...

An *action* answers `input` with data {"do": its name, its fields …}, within a tick, and
gives nothing back. A *method* answers `call`, at once, and its value is the result. The
fields are checked before (common/wire/fields.py); the decorated function stays an
ordinary function, tested by calling it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from common.errors import BadField, ConfigError
from common.wire.fields import Field, check_fields

__all__ = ["Field", "action", "collect", "method"]

Function = TypeVar("Function", bound=Callable[..., Any])
MARK = "_declared"
DO = "do"
"""The field of an input that names its action."""


class Declared(NamedTuple):
    """A decorated function: what it answers, and the check of its fields."""

    sort: str
    name: str
    check: Callable[[dict[str, Any]], dict[str, Any]]
    function: Callable[..., Any]

    def call(self, owner: Any, who: Any, body: Any) -> Any:
        """Check the fields and call the function of `owner`.

        Raises:
            BadField: the body is no map, or a field of it is missing or wrong.
        """
        if type(body) is not dict:
            raise BadField("must be a map with the fields", field="args")
        return self.function(owner, who, **self.check(body))


def action(name: str, *fields: Field) -> Callable[[Function], Function]:
    """Give a decorator for what players do by `input`."""
    return _declare("action", name, fields)


def method(name: str, *fields: Field) -> Callable[[Function], Function]:
    """Give a decorator for what clients ask by `call`."""
    return _declare("method", name, fields)


def _declare(sort: str, name: str, fields: tuple[Field, ...]) -> Callable[[Function], Function]:
    def mark(function: Function) -> Function:
        setattr(function, MARK, Declared(sort, name, check_fields(fields), function))
        return function

    return mark


def collect(owner: type, sort: str) -> Mapping[str, Declared]:
    """Give what a class and its bases declare: name -> function; a subclass may define one anew.

    Raises:
        ConfigError: two functions answer one name; the text says which.
    """
    found: dict[str, Declared] = {}
    for base in reversed(owner.__mro__):
        for attribute, value in vars(base).items():
            declared = getattr(value, MARK, None)
            if declared is None or declared.sort != sort:
                continue
            before = found.get(declared.name)
            if before is not None and before.function.__name__ != attribute:
                raise ConfigError(
                    f"{owner.__name__}: {sort} {declared.name!r} is already answered by "
                    f"{before.function.__qualname__}; remove one of the two"
                )
            found[declared.name] = declared
    return found
