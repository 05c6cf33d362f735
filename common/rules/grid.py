"""A map cut into square cells: where a point is, which cells lie around it.

    cell = row * columns + column          a player watches 3 × 3 of them:  . . .
                                           the middle one is its centre     . c .
                                                                            . . .

The centre follows the player only once it is `margin` beyond the centre's edge, so one
who walks to and fro on an edge changes nothing. It sees all within `side - margin` in
any direction, and nothing beyond `2 * side + margin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

NOWHERE = -1
"""A cell that is none."""
REMEMBERED = 65_536


@lru_cache(maxsize=REMEMBERED)
def around(cell: int, columns: int, rows: int) -> tuple[int, ...]:
    """Give a cell and those that touch it, as far as the map goes; of NOWHERE none."""
    if cell == NOWHERE:
        return ()
    row, column = divmod(cell, columns)
    return tuple(
        r * columns + c
        for r in range(max(0, row - 1), min(rows, row + 2))
        for c in range(max(0, column - 1), min(columns, column + 2))
    )


class Grid:
    """The cells of one map.

    Args:
        width, height: of the map; a point on its far edge is within.
        side: of a cell.
        margin: how far beyond its edge a centre is kept.
    """

    __slots__ = ("columns", "margin", "rows", "side")

    def __init__(self, width: float, height: float, side: float, margin: float) -> None:
        if side <= 0 or width <= 0 or height <= 0 or not 0 <= margin < side:
            raise ValueError(f"no grid of {width} × {height} in cells of {side}, margin {margin}")
        self.side = side
        self.margin = margin
        self.columns = int(width // side) + 1
        self.rows = int(height // side) + 1

    def cell(self, x: float, y: float) -> int:
        """Give the cell of a point of the map."""
        return int(y // self.side) * self.columns + int(x // self.side)

    def around(self, cell: int) -> tuple[int, ...]:
        """Give a cell and those that touch it."""
        return around(cell, self.columns, self.rows)

    def left(self, centre: int, x: float, y: float) -> bool:
        """Tell whether a point is so far from a centre that it needs another."""
        row, column = divmod(centre, self.columns)
        side, margin = self.side, self.margin
        left, top = column * side, row * side
        return not (left - margin <= x < left + side + margin and top - margin <= y < top + side + margin)

    def within(self, x: float, y: float, radius: float) -> Iterator[int]:
        """Give the cells that a square of twice the radius around a point touches."""
        side = self.side
        first, last = int(max(0, x - radius) // side), min(int((x + radius) // side), self.columns - 1)
        top, bottom = int(max(0, y - radius) // side), min(int((y + radius) // side), self.rows - 1)
        for row in range(top, bottom + 1):
            yield from range(row * self.columns + first, row * self.columns + last + 1)
