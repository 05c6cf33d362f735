"""One line (copy) of a spatial map: its ticks.

    inputs ─▶ on_input │ timers, on_tick │ gather what changed │ encode once, to each gateway │ errands
    └── input_us ─────┘└── simulate_us ─┘└── gather_us ───────┘└── publish_us ─────────────┘

A tick does not switch greenlets. What fails in a map's own code is logged and counted,
and the tick goes on.

Source: docs/worlds.md; docs/architecture.md, maps.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gevent import sleep

from common.errors import RequestError
from common.net.log import Doubling, Logger
from common.net.metrics import Counters
from common.net.pulse import Lag
from common.net.stage.guard import Guard
from common.net.stage.publication import Publication
from common.rules.entity import Player
from common.rules.errand import Errand
from common.rules.grid import NOWHERE
from common.rules.inputs import Inputs
from common.rules.interest import Interest
from common.rules.stay import Stay
from common.rules.ticks import Schedule
from common.rules.timers import Timers
from common.wire.codec import pack
from common.wire.names import map_of, uid_of

COUNTERS = {
    "ticks": "ticks of all lines",
    "overruns": "ticks skipped because one before them took too long",
    "inputs": "inputs applied",
    "inputs_dropped": "inputs dropped because too many of one player waited",
    "inputs_refused": "inputs that meant nothing to the map",
    "failures": "errors in a map's own code",
    "behind": "ticks a gateway's full queue kept from it; its players are told all again",
    "input_us": "time in ticks for inputs",
    "simulate_us": "time in ticks for timers and the map's on_tick",
    "gather_us": "time in ticks for finding out what changed",
    "publish_us": "time in ticks for encoding and handing to links",
}


class Space(Protocol):
    """What a line asks of a map; worlds/space.py has it."""

    interest: Interest
    timers: Timers
    players: dict[str, Player]
    told: list[tuple[Player | None, bytes]]
    errands: list[Errand]
    line: str
    tick: int
    time: float

    @property
    def rate(self) -> float: ...
    @property
    def inputs_per_tick(self) -> int: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...
    @property
    def keeps(self) -> str: ...
    def on_open(self) -> None: ...
    def on_reload(self) -> None: ...
    def on_enter(self, player: Player, data: Any) -> Mapping[str, Any] | None: ...
    def on_leave(self, player: Player) -> None: ...
    def on_input(self, player: Player, data: Any) -> None: ...
    def on_tick(self, seconds: float) -> None: ...
    def on_save(self, player: Player) -> Any: ...
    def on_load(self, player: Player, saved: Any) -> None: ...
    def add(self, entity: Any) -> Any: ...
    def call(self, who: Any, method: str, args: Any) -> Any: ...


class Line:
    """A running copy of a map.

    Args:
        key: "product/map/line".
        space: the map's own part.
        publication: the way to its players.
        counters: see COUNTERS.
        lag: how late ticks end.
        input_limit: inputs of one player that may wait.
        carry: called behind a tick with each errand the map has asked for in it.
        clock: monotonic seconds.

    Attributes:
        closed: it ticks no more.
    """

    def __init__(
        self,
        key: str,
        space: Space,
        publication: Publication,
        counters: Counters,
        lag: Lag,
        log: Logger,
        input_limit: int,
        carry: Callable[[Errand], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = key
        self.space = space
        self.publication = publication
        self.map_name = map_of(key)
        self.closed = False
        self._counters = counters
        self._lag = lag
        self._log = log
        self._input_limit = input_limit
        self._carry = carry
        self._clock = clock
        self._waiting: list[Player] = []
        self._floods = Doubling()
        self._guard = Guard(key, counters, log)

    # who plays

    def open(self) -> None:
        """Let the map begin."""
        self._guard.run("on_open", self.space.on_open)

    def enter(self, stay: Stay, data: Any, saved: Any = None) -> Player:
        """Let a user in, as a new player.

        Args:
            saved: what the map has kept of it; None: nothing.

        Raises:
            RequestError: the map does not let it in, or failed to.
        """
        space = self.space
        player = Player(uid_of(stay.user), Inputs(self._input_limit), space.width // 2, space.height // 2)
        player.applies = stay.applies
        player.inputs.newest, player.ack = stay.input, max(stay.input, 0)
        player.welcome = self._guard.ask("on_enter", self._let_in, player, data, saved)
        space.players[player.uid] = player
        return player

    def _let_in(self, player: Player, data: Any, saved: Any) -> dict[str, Any]:
        if saved is not None:
            self.space.on_load(player, saved)
        said = dict(self.space.on_enter(player, data) or {})
        pack(said)
        self.space.add(player)
        return said

    def welcome(self, player: Player) -> dict[str, Any]:
        """Give the body of a player's `enter` reply, or of `entered`."""
        space = self.space
        said: dict[str, Any] = player.welcome
        return said | {
            "map": self.map_name,
            "line": space.line,
            "tick": space.tick,
            "you": player.id,
            "ack": max(player.inputs.newest, 0),
        }

    def seat(self, player: Player, gateway: str, number: int) -> None:
        """A player is played by a connection from now on; it will be told all it sees."""
        player.gateway, player.number = gateway, number
        self.space.interest.watch(player)

    def unseat(self, player: Player) -> None:
        """A player's connection is no more; the player stays."""
        player.gateway, player.number = "", 0
        self.space.interest.unwatch(player)
        self.publication.drop(player)

    def save(self, player: Player) -> Any:
        """Give what the map keeps of a player.

        Raises:
            RequestError: it failed to.
        """
        return self._guard.ask("on_save", self.space.on_save, player)

    def saved(self, then: Callable[[bool], None], stored: bool) -> None:
        """Tell the map whether a player is stored."""
        self._guard.run("saved", then, stored)

    def take_out(self, player: Player) -> None:
        """Nothing in the map reaches a player any more; what it sent and was not applied is forgotten."""
        self.unseat(player)
        self.space.interest.remove(player)
        del self.space.players[player.uid]

    def put_back(self, player: Player, newest: int) -> None:
        """A player that was taken out goes on, as another entity; `newest` is its last input applied."""
        player.inputs.forget(newest)
        self.space.players[player.uid] = player
        self.space.interest.add(player)

    def gone(self, player: Player) -> None:
        """A player that was taken out has gone for good."""
        self._guard.run("on_leave", self.space.on_leave, player)

    def renew(self, player: Player) -> None:
        """A player's client is to be told all it sees again."""
        self.space.interest.watch(player)

    def call(self, player: Player, method: str, args: Any) -> Any:
        """Answer a `call`.

        Raises:
            RequestError: as Guard.ask says.
        """
        return self._guard.ask(f"method {method}", self.space.call, player, method, args)

    def offer(self, player: Player, number: int, data: Any) -> None:
        """Take an input for the next tick."""
        inputs = player.inputs
        if not inputs:
            self._waiting.append(player)
        if not inputs.offer(number, data):
            self._counters.inputs_dropped += 1
            if self._floods.hit():
                self._log.warning("a player floods", line=self.key, uid=player.uid, dropped=inputs.dropped)

    # its code

    @property
    def trouble(self) -> str:
        """Give what failed last in the map's code, since it has this class; "" when nothing did."""
        return self._guard.newest

    def go_on_with(self, kind: type[Any]) -> None:
        """Let the map go on with another class, in place; see common/net/stage/code.py."""
        self._guard.newest = ""
        self._guard.run("reload", self._become, kind)

    def _become(self, kind: type[Any]) -> None:
        space = self.space
        space.__class__ = kind
        space.timers.rebind(space)
        space.on_reload()

    # ticking

    def run(self, thaw: Callable[[], None]) -> None:
        """Tick until the line is closed.

        Args:
            thaw: fences the process if it was frozen.
        """
        clock = self._clock
        schedule = Schedule(self.space.rate, clock())
        while not self.closed:
            sleep(schedule.wait(clock()))
            if self.closed:
                return
            thaw()
            due = schedule.due
            self._guard.run("tick", self.step, schedule.tick, schedule.step)
            now = clock()
            self._lag.add(now - due)
            self._counters.overruns += schedule.done(now)

    def step(self, tick: int, seconds: float) -> None:
        """Do one tick; does not switch."""
        clock, counters, space = time.perf_counter, self._counters, self.space
        space.tick = tick
        space.time += seconds
        began = clock()
        acks = self._take_inputs()
        taken = clock()
        self._simulate(seconds)
        simulated = clock()
        changes = space.interest.gather()
        gathered = clock()
        told, space.told = space.told, []
        self.publication.publish(tick, changes, acks, told)
        published = clock()
        errands, space.errands = space.errands, []
        for errand in errands:
            self._carry(errand)
        counters.ticks += 1
        counters.input_us += int((taken - began) * 1e6)
        counters.simulate_us += int((simulated - taken) * 1e6)
        counters.gather_us += int((gathered - simulated) * 1e6)
        counters.publish_us += int((published - gathered) * 1e6)

    def _take_inputs(self) -> dict[str, list[tuple[int, int]]]:
        """Apply what waits, of each player so many; give gateway -> (connection, last input applied)."""
        counters, on_input = self._counters, self.space.on_input
        per_tick = self.space.inputs_per_tick
        acks: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        waiting, self._waiting = self._waiting, []
        for player in waiting:
            if player.cell == NOWHERE:
                continue
            before = player.ack
            for number, data in player.inputs.take(per_tick):
                if not player.applies(number):
                    continue
                player.ack = number
                counters.inputs += 1
                try:
                    on_input(player, data)
                except RequestError:
                    counters.inputs_refused += 1
                except Exception as error:  # noqa: BLE001 - a defect of the map fails this input only
                    self._guard.failed("on_input", error)
            if player.inputs:
                self._waiting.append(player)
            if player.ack != before and player.gateway:
                acks[player.gateway].append((player.number, player.ack))
        return acks

    def _simulate(self, seconds: float) -> None:
        for timer in self.space.timers.due(self.space.time):
            self._guard.run("timer", timer.fire)
        self._guard.run("on_tick", self.space.on_tick, seconds)
