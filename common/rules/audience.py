"""Which gateway must hear of which cell: per gateway and cell, how many of its players watch it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

from common.rules.grid import around


class Audience:
    """The watchers of one map.

    Args:
        columns, rows: of its grid.

    Attributes:
        wanted: gateway -> cell -> watchers there, at least 1.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._columns = columns
        self._rows = rows
        self._places: dict[Hashable, tuple[str, int]] = {}
        self.wanted: dict[str, dict[int, int]] = {}

    def put(self, watcher: Hashable, gateway: str, centre: int) -> None:
        """A watcher, new or known, is at a gateway and watches the cells around a centre."""
        before = self._places.get(watcher)
        if before == (gateway, centre):
            return
        self._places[watcher] = (gateway, centre)
        cells = self.wanted.setdefault(gateway, defaultdict(int))
        for cell in around(centre, self._columns, self._rows):
            cells[cell] += 1
        if before is not None:
            self._count_out(*before)

    def drop(self, watcher: Hashable) -> None:
        """A watcher watches no more; nothing happens when it did not."""
        before = self._places.pop(watcher, None)
        if before is not None:
            self._count_out(*before)

    def _count_out(self, gateway: str, centre: int) -> None:
        cells = self.wanted[gateway]
        for cell in around(centre, self._columns, self._rows):
            if cells[cell] == 1:
                del cells[cell]
            else:
                cells[cell] -= 1
        if not cells:
            del self.wanted[gateway]
