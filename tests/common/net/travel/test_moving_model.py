"""Players that enter, play, move and leave while worlds die and freeze and calls go wrong, by chance.

Whatever happens: at most one process lets a player play; what was acknowledged is stored; no
input counts twice. At the end, when all is well again, each player comes in exactly once,
with at least the last state that was acknowledged, and everything that was stored.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.errors import Conflict
from common.net.store import Store
from common.rules.stay import Stay
from tests.common.net.travel.scene import (
    AWAY,
    DIES_AFTER,
    DIES_BEFORE,
    LATE,
    LOST,
    STOPS_AFTER,
    STOPS_BEFORE,
    Cluster,
    World,
)
from tests.models import run_model

EXAMPLES = int(os.environ.get("ROOST_MOVES_EXAMPLES", "60"))
WORLDS = ("world-0", "world-1", "world-2")
USERS = ("p/ann", "p/bob")
users = st.sampled_from(USERS)
worlds = st.sampled_from(WORLDS)
faults = st.sampled_from(["ok", LOST, LATE, AWAY, DIES_BEFORE, DIES_AFTER, STOPS_BEFORE, STOPS_AFTER])


def place_in(world: str) -> str:
    return f"p/{world}/0.1"


class Watched(Cluster):
    """A cluster that remembers what a client was told."""

    def __init__(self, store: Store) -> None:
        self.acknowledged: dict[str, list[int]] = {user: [] for user in USERS}
        super().__init__(store, *WORLDS)

    def came(self, world: World, stay: Stay) -> None:
        """`entered` tells the client that it is there: what it has is what is stored."""
        assert world.states[stay.user][: len(self.acknowledged[stay.user])] == self.acknowledged[stay.user]
        self.acknowledge(stay.user, self.stored(stay.user))

    def ended(self, stay: Stay, state: list[int]) -> None:
        """The reply to `exit` tells the client that all is stored."""
        if stay.reason in ("left", "moved"):
            self.acknowledge(stay.user, state)

    def acknowledge(self, user: str, state: list[int]) -> None:
        if len(state) > len(self.acknowledged[user]):
            self.acknowledged[user] = list(state)


class Moves(RuleBasedStateMachine):
    """What clients do and what goes wrong, in any order."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.store.call("FLUSHALL")
        self.cluster = Watched(self.store)
        self.numbers = dict.fromkeys(USERS, 0)

    def running(self, name: str) -> World | None:
        world = self.cluster.worlds[name]
        return world if world.runs else None

    @rule(user=users, name=worlds)
    def enter(self, user: str, name: str) -> None:
        world = self.running(name)
        if world is not None:
            world.enter(user, place_in(name))

    @rule(user=users, count=st.integers(1, 3))
    def play(self, user: str, count: int) -> None:
        """Inputs reach whoever lets the player play; each is repeated."""
        for _ in range(count):
            self.numbers[user] += 1
            for name in WORLDS:
                world = self.running(name)
                if world is not None:
                    world.input(user, self.numbers[user])
                    assert not world.input(user, self.numbers[user])

    @rule(user=users, name=worlds)
    def save(self, user: str, name: str) -> None:
        """A map's logic wants something stored before it tells the client."""
        world = self.running(name)
        stay = world.stay(user) if world else None
        if world is None or stay is None or not stay.live:
            return
        state = list(world.states[user])
        world.keeper.save(stay, lambda done: self.cluster.acknowledge(user, state) if done else None)

    @rule(user=users, name=worlds)
    def leave(self, user: str, name: str) -> None:
        world = self.running(name)
        stay = world.stay(user) if world else None
        if world is not None and stay is not None and stay.live:
            world.keeper.leave(stay)

    @rule(user=users, to=worlds)
    def move(self, user: str, to: str) -> None:
        for name in WORLDS:
            world = self.running(name)
            stay = world.stay(user) if world else None
            if world is not None and stay is not None and stay.live and name != to:
                world.move(user, to, place_in(to), None)

    @rule(user=users, name=worlds)
    def lose_connection(self, user: str, name: str) -> None:
        stay = self.cluster.worlds[name].stay(user)
        if stay is not None:
            stay.lost(self.cluster.now)

    @rule(storage=st.lists(faults, max_size=4), network=st.lists(faults, max_size=3))
    def go_wrong(self, storage: list[str], network: list[str]) -> None:
        self.cluster.storage.next.extend(storage)
        self.cluster.network.next.extend(network)

    @rule()
    def carry_out_late(self) -> None:
        self.cluster.storage.carry_out_late()
        self.cluster.network.carry_out_late()

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 7.0, 31.0]), turns=st.integers(1, 4))
    def turn(self, seconds: float, turns: int) -> None:
        self.cluster.turn(turns, seconds)

    @rule(name=worlds)
    def freeze(self, name: str) -> None:
        if self.running(name):
            self.cluster.freeze(name)

    @rule(name=worlds)
    def thaw(self, name: str) -> None:
        if self.cluster.worlds[name].frozen_at is not None:
            self.cluster.thaw(name)

    @rule(name=worlds)
    def restart(self, name: str) -> None:
        self.cluster.restart(name)

    @invariant()
    def at_most_one_process_lets_a_player_play(self) -> None:
        for user in USERS:
            assert len(self.cluster.holders(user)) <= 1

    @invariant()
    def what_was_acknowledged_is_stored(self) -> None:
        for user in USERS:
            state = self.cluster.acknowledged[user]
            assert self.cluster.stored(user)[: len(state)] == state

    @invariant()
    def no_input_counts_twice(self) -> None:
        states = [self.cluster.stored(user) for user in USERS]
        states += [state for world in self.cluster.worlds.values() for state in world.states.values()]
        for state in states:
            assert state == sorted(set(state))

    def teardown(self) -> None:
        """All is well again: each player comes in once, with what is stored."""
        cluster = self.cluster
        for faults in (cluster.storage, cluster.network):
            faults.next.clear()
        for name in WORLDS:
            if cluster.worlds[name].frozen_at is not None:
                cluster.thaw(name)
            elif not cluster.worlds[name].alive:
                cluster.start(name)
        self.carry_out_late()
        cluster.settle()
        self.carry_out_late()
        cluster.settle()
        for user in USERS:
            self.come_in(user)
            (holder,) = cluster.holders(user)
            state = cluster.worlds[holder].states[user]
            stored = cluster.stored(user)
            assert state[: len(stored)] == stored
        self.no_input_counts_twice()
        self.what_was_acknowledged_is_stored()
        for name in WORLDS:
            cluster.kill(name)

    def come_in(self, user: str) -> None:
        """Enter anywhere; go where the refusal says that the player is."""
        name, place = WORLDS[0], place_in(WORLDS[0])
        for _ in range(2):
            world = self.cluster.worlds[name]
            world.enter(user, place)
            self.cluster.settle()
            if user not in world.refused:
                return
            refusal: Any = world.refused[user]
            assert isinstance(refusal, Conflict)
            name, place = refusal.facts["owner"].split(" ")[0], refusal.facts["place"]
        raise AssertionError(f"{user} cannot come in: {refusal!r}")


def test_a_player_is_in_one_map_with_what_was_acknowledged_whatever_dies(store: Store) -> None:
    Moves.store = store
    run_model(Moves, EXAMPLES, 30)
