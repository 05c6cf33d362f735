"""The base of all maps. Derive from `Rooms` (chat) or `Space` (a world with a tick), not from this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from common.errors import NotFound
from worlds.actions import Declared, collect


class Map:
    """What a map answers.

    Attributes:
        methods: what `call` may ask.
    """

    methods: ClassVar[Mapping[str, Declared]] = {}

    def __init_subclass__(cls) -> None:
        cls.methods = collect(cls, "method")

    def call(self, who: Any, method: str, args: Any) -> Any:
        """Answer a `call`.

        Args:
            who: of a space the Player; of a room its Visitor.
            args: a map with the method's fields; None is an empty one.

        Raises:
            NotFound: no such method.
            RequestError: what the check of the fields, or the method, says.
        """
        declared = self.methods.get(method)
        if declared is None:
            raise NotFound(f"no method {method!r} here", field="method")
        return declared.call(self, who, {} if args is None else args)
