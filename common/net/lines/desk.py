"""Asking function where players go; what gateways, worlds and matches do.

The function process of a product's map answers. While it is away players go where the
last ones of their map went, if that world still lives; nothing new can be made then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.errors import DeadlineExceeded, Unavailable
from common.net.dbclient import Calls
from common.places import Places
from common.wire.lines import parse_line

AREAS = 1_000
"""Maps of products whose last line is remembered."""


class Desk:
    """Where players go.

    Args:
        callers: the process's calls.
        state_of: gives what the directory says of a process, "" where it says nothing.
    """

    def __init__(self, callers: Calls, places: Places, state_of: Callable[[str], str]) -> None:
        self._callers = callers
        self._places = places
        self._state_of = state_of
        self._last: dict[str, str] = {}

    def place(self, area: str, size: int = 1, apart: str = "", wish: str = "", who: str = "") -> str:
        """Give the line for so many players; may block. See `line_place` of common/net/lines/registry.py."""
        function = self._places.function_of(area)
        try:
            line: str = self._callers.call(function, "line_place", area, size, apart, wish, who)
        except (DeadlineExceeded, Unavailable):
            line = wish or self._last.get(area, "")
            if not line or not self._lives(area, line, apart):
                raise
            return line
        if not wish:
            self._last.pop(area, None)
            self._last[area] = line
            if len(self._last) > AREAS:
                del self._last[next(iter(self._last))]
        return line

    def make(self, area: str, size: int, data: Any) -> str:
        """Make an instance; may block. See `line_make` of common/net/lines/registry.py."""
        line: str = self._callers.call(self._places.function_of(area), "line_make", area, size, data)
        return line

    def _lives(self, area: str, line: str, apart: str) -> bool:
        world = self._places.host_of(area, parse_line(line))
        return world != apart and self._state_of(world) in ("ready", "starting", "")
