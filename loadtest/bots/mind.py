"""What a bot does: it walks all the time, from one place to another, and shoots where it looks."""

from __future__ import annotations

from math import hypot
from random import Random
from typing import Any

ARRIVED = 12.0
STRIDE = 72.0
"""It does not shoot nearer to its goal than this: it would walk past it meanwhile."""
ACTS_EVERY = (0.4, 1.2)
"""Seconds between two things a bot does."""
FIRES = 0.4
"""Share of them that are shots."""
GOES_FAR = 300.0
"""How far away it looks for a place to walk to."""


class Mind:
    """One bot's intentions.

    Args:
        width, height: of the map.
        peaceful: shots are pointless.
    """

    __slots__ = ("_chance", "_goal", "_height", "_heading", "_peaceful", "_width")

    def __init__(self, width: float, height: float, peaceful: bool, chance: Random) -> None:
        self._width = width
        self._height = height
        self._peaceful = peaceful
        self._chance = chance
        self._goal: tuple[float, float] | None = None
        self._heading = (1.0, 0.0)

    def act(self, x: float, y: float) -> dict[str, Any]:
        """Give the next input of a bot that is at a place; it never stands still."""
        left = hypot(self._goal[0] - x, self._goal[1] - y) if self._goal is not None else 0.0
        if left > STRIDE and not self._peaceful and self._chance.random() < FIRES:
            return {"do": "fire", "dx": self._heading[0], "dy": self._heading[1]}
        if self._goal is None or left <= ARRIVED:
            self._goal = self._somewhere(x, y)
        way = self._goal[0] - x, self._goal[1] - y
        length = hypot(*way)
        self._heading = (way[0] / length, way[1] / length)
        return {"do": "walk", "dx": self._heading[0], "dy": self._heading[1]}

    def waits(self) -> float:
        """Give the seconds until it acts again."""
        return self._chance.uniform(*ACTS_EVERY)

    def _somewhere(self, x: float, y: float) -> tuple[float, float]:
        """Give a place not too near and not too far, off the edge: one that walks into it stands."""
        edge = 7 * ARRIVED
        while True:
            goal = (
                min(max(edge, x + self._chance.uniform(-GOES_FAR, GOES_FAR)), self._width - edge),
                min(max(edge, y + self._chance.uniform(-GOES_FAR, GOES_FAR)), self._height - edge),
            )
            if hypot(goal[0] - x, goal[1] - y) > 5 * ARRIVED:
                return goal
