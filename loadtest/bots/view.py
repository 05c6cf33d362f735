"""What one client knows of the map around it, by the rules of the protocol; and whether that is true.

Source: docs/protocol.md, section 6, Maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Place = tuple[float, float]


class View:
    """What was told, as far as it still counts.

    Attributes:
        you: one's own entity.
        tick: of the newest `state`.
        kinds: id -> kind; places: id -> (x, y).
    """

    def __init__(self, you: int) -> None:
        self.you = you
        self.tick = 0
        self.kinds: dict[int, str] = {}
        self.places: dict[int, Place] = {}
        self._cells: dict[int, int] = {}

    def take(self, state: Mapping[str, Any]) -> None:
        """Take a `state` with a cell in it, or any other: that changes nothing but the tick."""
        self.tick = max(self.tick, state["tick"])
        cell = state.get("cell")
        if cell is None:
            return
        if state.get("full"):
            for entity in [entity for entity, where in self._cells.items() if where == cell]:
                self._forget(entity)
        for entity, kind, x, y, _ in state.get("enter", ()):
            self.kinds[entity], self.places[entity], self._cells[entity] = kind, (x, y), cell
        for entity, x, y in state.get("move", ()):
            if entity in self.places:
                self.places[entity] = (x, y)
        for entity in state.get("leave", ()):
            if self._cells.get(entity) == cell:
                self._forget(entity)

    def _forget(self, entity: int) -> None:
        del self.kinds[entity], self.places[entity], self._cells[entity]

    def others(self) -> dict[int, Place]:
        """Give where the other players are."""
        players = {entity: place for entity, place in self.places.items() if self.kinds[entity] == "player"}
        players.pop(self.you, None)
        return players


class Snapshot(NamedTuple):
    """What a watcher knew of the others when a tick was over."""

    tick: int
    you: int
    here: Place
    others: dict[int, Place]


def judge(snapshot: Snapshot, truth: Mapping[int, Place], near: float, far: float) -> list[str]:
    """Compare a snapshot with where bots were at that tick, one by one.

    Args:
        truth: entity -> place, of bots that moved in that tick.
        near: all within this distance, along each axis, must be known; far: nobody beyond this may be.

    Returns:
        What is wrong.
    """
    wrong = []
    for entity, place in truth.items():
        if entity == snapshot.you:
            continue
        known = snapshot.others.get(entity)
        if known is None:
            distance = _distance(place, snapshot.here)
            if distance < near:
                wrong.append(f"tick {snapshot.tick}: {entity} at {distance:.0f} is not known")
        elif known != place:
            wrong.append(f"tick {snapshot.tick}: {entity} is at {place}, not at {known}")
    for entity, place in snapshot.others.items():
        if _distance(place, snapshot.here) > far:
            wrong.append(f"tick {snapshot.tick}: {entity} is told of from {place} to {snapshot.here}")
    return wrong


def _distance(one: Place, other: Place) -> float:
    """Give how far apart two places are as cells have it: along the axis on which they are farther apart."""
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))
