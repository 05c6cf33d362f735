"""Who is killed next: every kind comes again before any kind comes a second time more."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from loadtest.torture.plan import KINDS
from tests.cluster.cluster import Cluster

REDIS = "redis-0"
PATIENCE = 3.0
"""Seconds a victim that is just being started again is waited for."""


@dataclass(frozen=True)
class Kill:
    """A process that was killed, this many seconds after the start."""

    second: float
    name: str

    @property
    def kind(self) -> str:
        """Give its group."""
        return self.name.rpartition("-")[0]


def victims(names: Iterable[str], dice: random.Random, kinds: Sequence[str] = KINDS) -> Iterator[str]:
    """Walk, for ever, the processes to be killed: rounds over all kinds, a process of each at random."""
    groups: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name in names:
        groups[name.rpartition("-")[0]].append(name)
    while True:
        for kind in dice.sample(kinds, len(kinds)):
            yield dice.choice(groups[kind])


class Killer:
    """Kills processes of a cluster, and remembers.

    Args:
        names: who is killed, of these kinds; unless given, everybody but Redis.

    Attributes:
        kills: those of `kinds`. redis: those of Redis.
    """

    def __init__(
        self,
        cluster: Cluster,
        dice: random.Random,
        names: Iterable[str] = (),
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self._cluster = cluster
        everybody = [*cluster.places.processes, cluster.places.center]
        self._victims = victims(list(names) or everybody, dice, kinds)
        self._began = time.monotonic()
        self.kills: list[Kill] = []
        self.redis: list[Kill] = []

    def kill_next(self) -> Kill:
        """Kill whose turn it is."""
        kill = self._kill(next(self._victims))
        self.kills.append(kill)
        return kill

    def count(self) -> Counter[str]:
        """Give how often each kind was killed."""
        return Counter(kill.kind for kill in self.kills)

    def kill_redis(self) -> Kill:
        """Kill Redis; supervisord starts it again."""
        kill = self._kill(REDIS)
        self.redis.append(kill)
        return kill

    def _kill(self, name: str) -> Kill:
        until = time.monotonic() + PATIENCE
        while not self._cluster.supervised().get(name, {}).get("pid"):
            assert time.monotonic() < until, f"{name} does not run"
            time.sleep(0.05)
        self._cluster.kill(name, signal.SIGKILL)
        return Kill(round(time.monotonic() - self._began, 1), name)
