"""Who is where in a map, what changed since the last tick, and who watches what.

    add, move, show, remove ──▶ entities by cell ──▶ near, nearest: as it is now
                                      │ gather, once a tick
                                      ▼
                                 Changes: for each cell what its watchers must be told,
                                 and the players whose centre is another one

An entity that crosses cells is a leave in the one and an enter in the other, in the
same tick; each cell is a stream of its own, so what a cell's watchers are told does not
depend on who watches. Nothing here is done for each player and tick.

Source: docs/worlds.md, what clients are told; docs/protocol.md, section 6, maps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

from common.rules.entity import Entity
from common.rules.grid import NOWHERE, Grid

Row = tuple[Any, ...]


class Changes(NamedTuple):
    """What one tick has changed: cell -> rows; no cell stands with none.

    Attributes:
        moves: (id, x, y); enters: (id, kind, x, y, data); leaves: id; events: as told.
        recentred: (entity, the centre before) for each new centre; NOWHERE before: its client
            knows nothing.
    """

    moves: dict[int, list[Row]]
    enters: dict[int, list[Row]]
    leaves: dict[int, list[int]]
    events: dict[int, list[Any]]
    recentred: list[tuple[Entity, int]]

    def cells(self) -> set[int]:
        """Give the cells that have changed."""
        return {*self.moves, *self.enters, *self.leaves, *self.events}


class Interest:
    """The entities of one map.

    Args:
        grid: its cells.

    Attributes:
        entities: id -> entity.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.entities: dict[int, Entity] = {}
        self._cells: defaultdict[int, dict[int, Entity]] = defaultdict(dict)
        self._stirred: list[Entity] = []
        self._leaves: defaultdict[int, list[int]] = defaultdict(list)
        self._events: defaultdict[int, list[Any]] = defaultdict(list)
        self._blind: dict[Entity, None] = {}
        self._newest_id = 0

    # what happens in the map

    def add(self, entity: Entity) -> None:
        """Put an entity in, where it says it is, under a new id.

        Raises:
            ValueError: it is in already.
        """
        if entity.cell != NOWHERE:
            raise ValueError(f"entity {entity.id} is in a map already; remove it first")
        self._newest_id += 1
        entity.id = self._newest_id
        entity.cell = self.grid.cell(entity.x, entity.y)
        entity.told = NOWHERE
        self.entities[entity.id] = entity
        self._cells[entity.cell][entity.id] = entity
        self._stir(entity)

    def move(self, entity: Entity, x: float, y: float) -> None:
        """Put an entity at another point of the map; one that is not in it yet will come in there."""
        entity.x = x
        entity.y = y
        cell = self.grid.cell(x, y)
        if cell != entity.cell:
            if entity.cell == NOWHERE:
                return
            self._take_out(entity)
            self._cells[cell][entity.id] = entity
            entity.cell = cell
        if not entity.stirred:
            entity.stirred = True
            self._stirred.append(entity)

    def show(self, entity: Entity) -> None:
        """Have an entity's watchers told its `kind` and `data` anew."""
        entity.changed = True
        self._stir(entity)

    def remove(self, entity: Entity) -> None:
        """Take an entity out; nothing happens when it is not in."""
        if entity.cell == NOWHERE:
            return
        self.unwatch(entity)
        self._take_out(entity)
        del self.entities[entity.id]
        if entity.told != NOWHERE:
            self._leaves[entity.told].append(entity.id)
        entity.cell = entity.told = NOWHERE

    def tell(self, x: float, y: float, event: Any) -> None:
        """Tell an event to all who watch the cell of a point."""
        self._events[self.grid.cell(x, y)].append(event)

    def _take_out(self, entity: Entity) -> None:
        here = self._cells[entity.cell]
        del here[entity.id]
        if not here:
            del self._cells[entity.cell]

    def _stir(self, entity: Entity) -> None:
        if not entity.stirred:
            entity.stirred = True
            self._stirred.append(entity)

    # who watches

    def watch(self, entity: Entity) -> None:
        """Let an entity's client watch what is around it; what it knew before counts for nothing."""
        entity.watching = True
        entity.centre = NOWHERE
        self._blind[entity] = None

    def unwatch(self, entity: Entity) -> None:
        """Its client watches no more."""
        entity.watching = False
        entity.centre = NOWHERE
        self._blind.pop(entity, None)

    # once a tick

    def gather(self) -> Changes:
        """Give what has changed since the last time."""
        moves: defaultdict[int, list[Row]] = defaultdict(list)
        enters: defaultdict[int, list[Row]] = defaultdict(list)
        leaves, self._leaves = self._leaves, defaultdict(list)
        events, self._events = self._events, defaultdict(list)
        stirred, self._stirred = self._stirred, []
        recentred: list[tuple[Entity, int]] = []
        left = self.grid.left
        for entity in stirred:
            entity.stirred = False
            cell = entity.cell
            if cell == NOWHERE:
                continue
            if cell == entity.told and not entity.changed:
                moves[cell].append((entity.id, entity.x, entity.y))
            else:
                if cell != entity.told and entity.told != NOWHERE:
                    leaves[entity.told].append(entity.id)
                entity.told = cell
                entity.changed = False
                enters[cell].append(entity.row())
            centre = entity.centre
            if centre != cell and centre != NOWHERE and left(centre, entity.x, entity.y):
                entity.centre = cell
                recentred.append((entity, centre))
        for entity in self._blind:
            entity.centre = entity.cell
            recentred.append((entity, NOWHERE))
        self._blind.clear()
        return Changes(moves, enters, leaves, events, recentred)

    def snapshot(self, cell: int) -> list[Row]:
        """Give what one who knows nothing of a cell must be told; right behind `gather`."""
        here = self._cells.get(cell)
        return [entity.row() for entity in here.values()] if here else []

    # who is near

    def near(self, x: float, y: float, radius: float) -> Iterator[Entity]:
        """Give the entities within a radius, its edge included, in no order."""
        limit = radius * radius
        for entity in self._candidates(x, y, radius):
            dx, dy = entity.x - x, entity.y - y
            if dx * dx + dy * dy <= limit:
                yield entity

    def _candidates(self, x: float, y: float, radius: float) -> Iterator[Entity]:
        grid = self.grid
        if (2 * radius / grid.side + 1) ** 2 > len(self._cells):
            yield from self.entities.values()
            return
        for cell in grid.within(x, y, radius):
            here = self._cells.get(cell)
            if here:
                yield from here.values()

    def nearest(
        self, x: float, y: float, radius: float, kind: str | None = None, but: Entity | None = None
    ) -> Entity | None:
        """Give the nearest entity within a radius, of equals the oldest; None where there is none.

        Args:
            kind: of this kind only.
            but: not this one.
        """
        found, best = None, (inf, 0)
        for entity in self.near(x, y, radius):
            if entity is but or (kind is not None and entity.kind != kind):
                continue
            rank = ((entity.x - x) ** 2 + (entity.y - y) ** 2, entity.id)
            if rank < best:
                found, best = entity, rank
        return found
