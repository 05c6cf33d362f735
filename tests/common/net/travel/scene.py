"""Several world processes and one storage in a test: real Redis, calls that can go wrong, processes that die.

A player's state is the list of the inputs applied to it. Nothing runs by itself but the
greenlets of moves: `turn` lets every process that runs do what it has to do.
"""

from __future__ import annotations

import time
from collections import deque
from types import SimpleNamespace
from typing import Any

import gevent
import msgpack

from common.errors import Conflict, DeadlineExceeded, RequestError, Unavailable
from common.net.store import Store
from common.net.travel.keeper import Keeper
from common.net.travel.moving import MOVES, Mover
from common.rules.owner import stands
from common.rules.route import Record
from common.rules.stay import Stay
from servers.dbserver import RPC

GONE_AFTER = 12.0
LINKDEAD = 30.0
SAVE_EVERY = 30.0

OK, AWAY, LOST, LATE = "ok", "away", "lost", "late"
"""How a call goes: well; not carried out; carried out without an answer; carried out some time later."""
DIES_BEFORE, DIES_AFTER = "dies before", "dies after"
STOPS_BEFORE, STOPS_AFTER = "stops before", "stops after"
"""What happens to the caller, just before or just after the call was carried out."""


class Faults:
    """Calls of the cluster: what happens to the next ones."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.next: deque[str] = deque()
        self.always = OK
        self.late: list[Any] = []
        self.calls: list[str] = []

    def call(self, world: World, name: str, function: Any, *args: Any) -> Any:
        """Carry a call out, as the next fault has it."""
        self.calls.append(name)
        fault = self.next.popleft() if self.next else self.always
        self._strike(world, fault, DIES_BEFORE, STOPS_BEFORE)
        if fault == AWAY:
            raise Unavailable("away")
        if fault == LATE:
            self.late.append((function, args))
            raise DeadlineExceeded("no answer")
        result = function(*args)
        self._strike(world, fault, DIES_AFTER, STOPS_AFTER)
        if fault == LOST:
            raise DeadlineExceeded("no answer")
        return result

    def _strike(self, world: World, fault: str, dies: str, stops: str) -> None:
        """Have the caller die or stand still; one that died does not come back from here."""
        if fault == dies and world.runs:
            self._cluster.kill(world.name)
        if fault == stops and world.runs:
            self._cluster.freeze(world.name)
        while world.frozen_at is not None:
            gevent.sleep(0)
        if not world.alive:
            raise gevent.GreenletExit

    def carry_out_late(self) -> None:
        """Have carried out now what was given up long ago."""
        while self.late:
            function, args = self.late.pop(0)
            try:
                function(*args)
            except RequestError:
                continue


class World:
    """One life of a world process."""

    def __init__(self, cluster: Cluster, name: str, life: int) -> None:
        self.cluster = cluster
        self.name = name
        self.life = life
        self.term = 1
        self.alive = True
        self.frozen_at: float | None = None
        self.died_at = 0.0
        self.states: dict[str, list[int]] = {}
        self.refused: dict[str, RequestError] = {}
        self.left: list[tuple[str, str]] = []
        self.arrivals: list[tuple[str, Any]] = []
        self.moves: list[Any] = []
        self.full = False
        self.out_of_play: set[str] = set()
        self.busy = 0
        self.keeper = Keeper(
            self,  # type: ignore[arg-type]
            self,
            self.owner,
            lambda text: stands(text, self.owner(), cluster.directory(), cluster.names),
            LINKDEAD,
            SAVE_EVERY,
            lambda: cluster.now,
        )
        self.mover = Mover(
            self.keeper,
            SimpleNamespace(call=self.ask),
            self.owner,
            self.admit,
            self.arrived,
            lambda: cluster.now,
        )

    @property
    def runs(self) -> bool:
        return self.alive and self.frozen_at is None

    def owner(self) -> str:
        return f"{self.name} {self.life:016x}-aa {self.term}"

    # storage and other worlds, as the process calls them

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        handler = RPC.get(method)
        copied = msgpack.unpackb(msgpack.packb(args))
        result = self._busily(self.cluster.storage, method, handler, self.cluster.service, *copied)
        return msgpack.unpackb(msgpack.packb(result))

    def ask(self, world: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        def answer() -> Any:
            target = self.cluster.worlds[world]
            if not target.runs:
                raise Unavailable("away")
            return MOVES.get(method)(target.mover, *args)  # type: ignore[misc]

        return self._busily(self.cluster.network, method, answer)

    def _busily(self, faults: Faults, *call: Any) -> Any:
        self.busy += 1
        try:
            return faults.call(self, *call)
        finally:
            self.busy -= 1

    # the map's side

    def snapshot(self, stay: Stay) -> bytes | None:
        return msgpack.packb(self.states[stay.user])  # type: ignore[no-any-return]

    def frozen(self, stay: Stay) -> None:
        assert stay.user not in self.out_of_play
        self.out_of_play.add(stay.user)

    def ended(self, stay: Stay) -> None:
        state = self.states.pop(stay.user)
        self.out_of_play.discard(stay.user)
        self.left.append((stay.user, stay.reason))
        self.cluster.ended(stay, state)

    def thawed(self, stay: Stay) -> None:
        self.out_of_play.remove(stay.user)

    def admit(self, user: str, place: str, facts: Any) -> None:
        if self.full:
            raise Conflict("full")

    def arrived(self, stay: Stay, record: Record, facts: Any) -> None:
        self.arrivals.append((stay.user, facts))
        self.came(stay, record)

    def came(self, stay: Stay, record: Record) -> None:
        if record.owner or stay.user not in self.states:
            self.states[stay.user] = msgpack.unpackb(record.blob) if record.blob else []
        self.cluster.came(self, stay)

    # what tests do

    def enter(self, user: str, place: str = "p/a/0.1") -> None:
        self.refused.pop(user, None)
        self.keeper.enter(user, place, self.came, lambda error: self.refused.update({user: error}))

    def stay(self, user: str) -> Stay | None:
        return self.keeper.stays.get(user)

    def input(self, user: str, number: int) -> bool:
        """Apply an input, if it may be."""
        stay = self.stay(user)
        if stay is None or not stay.applies(number):
            return False
        self.states[user].append(number)
        return True

    def save(self, user: str) -> list[bool]:
        stay, told = self.stay(user), []  # type: ignore[var-annotated]
        assert stay is not None
        self.keeper.save(stay, told.append)
        return told

    def move(self, user: str, world: str, place: str = "p/b/0.1", facts: Any = None) -> Any:
        stay = self.stay(user)
        assert stay is not None and stay.live

        def run() -> Any:
            try:
                self.mover.move(stay, world, place, facts)
            except RequestError as error:
                return error

        self.moves.append(gevent.spawn(run))
        return self.moves[-1]

    def step(self) -> None:
        self.keeper.step()
        self.mover.step()


class Cluster:
    """World processes over one storage."""

    def __init__(self, store: Store, *names: str) -> None:
        self.now = 1_000.0
        self.names = names
        self.lives = 0
        self.storage = Faults(self)
        self.network = Faults(self)
        self.service = SimpleNamespace(store=store)
        self.worlds: dict[str, World] = {}
        self._steps: dict[World, Any] = {}
        for name in names:
            self.start(name)

    def ended(self, stay: Stay, state: list[int]) -> None:
        """Told of each player that is gone, with what it was."""

    def came(self, world: World, stay: Stay) -> None:
        """Told of each player that came in."""

    def start(self, name: str) -> World:
        """Begin a life of a world."""
        self.lives += 1
        self.worlds[name] = World(self, name, self.lives)
        return self.worlds[name]

    def kill(self, name: str) -> None:
        """End a world, wherever it stands."""
        world = self.worlds[name]
        world.alive = False
        world.frozen_at, world.died_at = None, self.now
        for greenlet in (*world.moves, self._steps.pop(world, None)):
            if greenlet is not None and greenlet is not gevent.getcurrent():
                greenlet.kill(block=False)

    def restart(self, name: str) -> World:
        self.kill(name)
        return self.start(name)

    def freeze(self, name: str) -> None:
        self.worlds[name].frozen_at = self.now

    def thaw(self, name: str) -> None:
        """Let a frozen process go on; the first thing it does is to notice."""
        world = self.worlds[name]
        assert world.frozen_at is not None
        if self.now - world.frozen_at >= 6.0:
            world.term += 1
            world.keeper.fenced()
        world.frozen_at = None

    def directory(self) -> dict[str, list[Any]]:
        """Give what function tells."""
        told = {}
        for name, world in self.worlds.items():
            heard_at = world.frozen_at if world.alive else world.died_at
            silent = 0.0 if heard_at is None else self.now - heard_at
            state = "gone" if silent >= GONE_AFTER else "ready"
            told[name] = [f"{world.life:016x}-aa", world.term, state, silent * 1000]
        return told

    def turn(self, turns: int = 1, seconds: float = 0.0) -> None:
        """Let each process that runs do one step, or go on with the one it is in."""
        for _ in range(turns):
            self.now += seconds
            for world in self.worlds.values():
                if world.runs and (world not in self._steps or self._steps[world].ready()):
                    self._steps[world] = gevent.spawn(world.step)
            until = time.monotonic() + 20
            while not self._at_rest():
                assert time.monotonic() < until
                gevent.sleep(0)
            moves = [move for world in self.worlds.values() for move in world.moves]
            for greenlet in [*self._steps.values(), *moves]:
                if greenlet.ready() and greenlet.exception is not None:
                    raise greenlet.exception

    def _at_rest(self) -> bool:
        """Tell whether no process that runs is within a step or a call."""
        for _ in range(3):
            gevent.sleep(0)
        running = [world for world in self.worlds.values() if world.runs]
        return all(not world.busy and self._steps[world].ready() for world in running if world in self._steps)

    def settle(self, seconds: float = 0.5, most: int = 200) -> None:
        """Turn until nothing is under way."""
        for _ in range(most):
            self.turn(1, seconds)
            if all(self.quiet(world) for world in self.worlds.values()):
                return
        raise AssertionError("it never came to rest")

    def quiet(self, world: World) -> bool:
        moving = any(not greenlet.ready() for greenlet in world.moves)
        keeper = world.keeper
        waiting = len(keeper._entrance) or keeper._jobs or world.mover._awaited
        return not world.runs or not (moving or waiting)

    def record(self, user: str) -> Record:
        """Give what is stored."""
        return Record(*RPC.get("player_load")(self.service, [user])[0])  # type: ignore[misc]

    def stored(self, user: str) -> list[int]:
        """Give the inputs in the state that is stored."""
        blob = self.record(user).blob
        return msgpack.unpackb(blob) if blob else []

    def holders(self, user: str) -> list[str]:
        """Name the processes that run and let a player play."""
        held = []
        for world in self.worlds.values():
            stay = world.stay(user)
            if world.runs and stay is not None and stay.live:
                assert user not in world.out_of_play
                held.append(world.name)
        return held
