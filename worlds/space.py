"""A map with places, players, and a tick: derive from `Space` and say what happens.

    on_open          once, before the first tick: put in what is there from the beginning
    on_reload        other code goes on from here: bring up to date what the old one left
    on_enter         a player comes: set its place; what is returned goes into the answer
    on_input         it has done something; unless defined anew: the actions of the class
    on_tick          once a tick, behind the inputs and the timers
    on_leave         it has gone for good
    on_save, on_load what is kept of a player: between two visits, on its way to another map, when
                     a process dies

All of them run one after the other, in one process, and must not wait for anything.

Source: docs/worlds.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from common.errors import BadField
from common.rules.entity import Entity, Player
from common.rules.errand import Errand, Saving, Sending
from common.rules.grid import Grid
from common.rules.interest import Interest
from common.rules.queue import Mode
from common.rules.timers import Timer, Timers
from common.wire.codec import pack
from worlds.actions import DO, Declared, collect
from worlds.map import Map

__all__ = ["Entity", "Player", "Space"]

MARGIN = 1 / 8
"""Share of the view by which a player may leave the middle of what it watches."""


class Space(Map):
    """A map of places.

    Args:
        line: name of the copy of the map it is.
        made: what an instance was made with (docs/matches.md); None for a line.
        chance: where its random numbers come from.

    Attributes:
        width, height: points have 0 <= x <= width, 0 <= y <= height.
        view: how far a player sees along each axis: all within 7/8 of it, nothing beyond 2 1/8.
        rate: ticks a second.
        inputs_per_tick: of one player; others wait.
        players: uid -> player.
        tick: number of the present tick; time: seconds since the map began.
        fill: players a line has before another one is opened; full: players it takes at all.
        modes: what is played by matchmaking (docs/matches.md).
        keeps: name under which what `on_save` gives is kept; maps of one name share it. "": the map's own.
        actions: what `input` may do.
    """

    width: ClassVar[float] = 1_000
    height: ClassVar[float] = 1_000
    view: ClassVar[float] = 100
    rate: ClassVar[float] = 10
    inputs_per_tick: ClassVar[int] = 4
    fill: ClassVar[int] = 2_000
    full: ClassVar[int] = 2_500
    modes: ClassVar[Mapping[str, Mode]] = {}
    keeps: ClassVar[str] = ""
    actions: ClassVar[Mapping[str, Declared]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.actions = collect(cls, "action")

    def __init__(self, line: str = "0.1", made: Any = None, chance: random.Random | None = None) -> None:
        self.line = line
        self.made = made
        self.chance = chance or random.Random()
        self.interest = Interest(Grid(self.width, self.height, self.view, self.view * MARGIN))
        self.timers = Timers()
        self.players: dict[str, Player] = {}
        self.tick = 0
        self.time = 0.0
        self.told: list[tuple[Player | None, bytes]] = []
        self.errands: list[Errand] = []

    # to be defined by the map's author

    def on_open(self) -> None:
        """The map begins."""

    def on_reload(self) -> None:
        """Another version of this class goes on from here, with all that the one before has left."""

    def on_enter(self, player: Player, data: Any) -> Mapping[str, Any] | None:
        """A player comes; it is put in where it says it is, in the middle unless set here.

        Args:
            data: what the client sent along with `enter`; may be anything.

        Returns:
            What the answer tells the client besides.

        Raises:
            RequestError: it may not come in; the client is told why.
        """
        return None

    def on_leave(self, player: Player) -> None:
        """A player has gone, and what `on_save` gave last is stored; it is in no cell any more."""

    def on_input(self, player: Player, data: Any) -> None:
        """A player has sent an input.

        Raises:
            RequestError: it means nothing; it is counted and forgotten.
        """
        name = data.get(DO) if type(data) is dict else None
        declared = self.actions.get(name) if type(name) is str else None
        if declared is None:
            raise BadField("no such action", field=DO)
        declared.call(self, player, data)

    def on_tick(self, seconds: float) -> None:
        """Time has passed: so much since the last tick."""

    def on_save(self, player: Player) -> Any:
        """Give what is to be kept of a player, a plain value; None: nothing. It changes nothing."""
        return None

    def on_load(self, player: Player, saved: Any) -> None:
        """Take what was kept of a player; called before `on_enter`, unless nothing was."""

    # for the map's author: what is there

    def add(self, entity: Entity) -> Entity:
        """Put an entity into the map, where it says it is, and give it."""
        _check_shown(entity.kind, entity.data)
        entity.x, entity.y = self.inside(entity.x, entity.y)
        self.interest.add(entity)
        return entity

    def move(self, entity: Entity, x: float, y: float) -> None:
        """Put an entity at another point, the nearest one that is inside the map."""
        if not 0 <= x <= self.width or not 0 <= y <= self.height:
            x, y = self.inside(x, y)
        self.interest.move(entity, x, y)

    def inside(self, x: float, y: float) -> tuple[float, float]:
        """Give the nearest point inside the map."""
        return min(max(0, x), self.width), min(max(0, y), self.height)

    def show(self, entity: Entity, data: Any) -> None:
        """Let clients see other `data` of an entity."""
        _check_shown(entity.kind, data)
        entity.data = data
        self.interest.show(entity)

    def remove(self, entity: Entity) -> None:
        """Take an entity out of the map. A player's is taken out by its leaving only."""
        if isinstance(entity, Player) and self.players.get(entity.uid) is entity:
            raise ValueError("a player leaves by itself; nobody takes it out")
        self.interest.remove(entity)

    def near(self, x: float, y: float, radius: float, kind: str | None = None) -> list[Entity]:
        """Give the entities (of a kind) within a radius, as they are now, in no order."""
        found = self.interest.near(x, y, radius)
        return [entity for entity in found if kind is None or entity.kind == kind]

    def nearest(
        self, x: float, y: float, radius: float, kind: str | None = None, but: Entity | None = None
    ) -> Entity | None:
        """Give the nearest entity (of a kind, but not this one) within a radius, or None."""
        return self.interest.nearest(x, y, radius, kind, but)

    # for the map's author: players on their way, and what is kept of them

    def send(self, player: Player, to: str, data: Any = None) -> None:
        """Move a player to another map; its client hears `entered` there.

        Its `on_save` here and its `on_load` there, if both keep under one name, carry what it has. Where the
        other map does not take it, it goes on here and its client hears `entered` again.

        Args:
            data: what `on_enter` of the other map is called with.
        """
        pack(data)
        self.errands.append(Sending(player, to, data))

    def save(self, player: Player, then: Callable[..., Any], *args: Any) -> None:
        """Store a player now; `then(stored, *args)` is called when it is, or could not be."""
        self.errands.append(Saving(player, lambda stored: then(stored, *args)))

    # for the map's author: what is told

    def tell_all(self, event: Any) -> None:
        """Tell all players of the map an event with this tick's state."""
        self.told.append((None, pack(event)))

    def tell_near(self, x: float, y: float, event: Any) -> None:
        """Tell an event to all who watch the cell of a point."""
        pack(event)
        self.interest.tell(*self.inside(x, y), event)

    def tell(self, player: Player, event: Any) -> None:
        """Tell an event to one player."""
        self.told.append((player, pack(event)))

    # for the map's author: when

    def after(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Call a function once, in the first tick after so many seconds; `cancel` the timer to prevent it."""
        timer = Timer(0.0, function, args)
        self.timers.add(self.time + seconds, timer)
        return timer

    def every(self, seconds: float, function: Callable[..., Any], *args: Any) -> Timer:
        """Call a function each so many seconds."""
        if seconds <= 0:
            raise ValueError(f"cannot be done every {seconds} s")
        timer = Timer(seconds, function, args)
        self.timers.add(self.time + seconds, timer)
        return timer


def _check_shown(kind: str, data: Any) -> None:
    """Refuse here, where the author sees it, what no client could be told."""
    pack((kind, data))
