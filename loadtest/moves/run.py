"""One run from start to verdict.

start     a cluster with two maps, each on a world process of its own; all players enter
storm     they go from map to map; worlds, session and dbservers are killed in turn
calm      nothing is killed, all come to rest
verdict   what players were told, what worlds have and what is stored are compared
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent
from gevent.pool import Pool

from loadtest.bench.machine import facts
from loadtest.flock.histogram import Histogram
from loadtest.moves import report
from loadtest.moves.judge import KINDS, Judge, Verdict
from loadtest.moves.look import look
from loadtest.moves.plan import MAPS, Plan
from loadtest.moves.traveller import Traveller
from loadtest.torture.killer import Killer
from tests.cluster.cluster import Cluster

DEPOT = "loadtest.moves.depot:Depot"
SETTINGS: dict[str, Any] = {
    "cluster.maps": {"plaza": 1} | dict.fromkeys(MAPS, 1),
    "world.maps": dict.fromkeys(MAPS, DEPOT),
    "world.save_every": 5.0,
    "cluster.sessions": 1,
    "cluster.dbservers": 2,
}
COMING = 50
"""Players that log in at the same time."""
TURN = 0.05
TELL_EVERY = 5.0
HEALED_SECONDS = 30.0

Say = Callable[[str], None]


class Run:
    """A run of a plan on a cluster of its own."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._dice = random.Random(plan.seed)
        self._counts: Counter[str] = Counter()
        self._moved, self._back = Histogram(), Histogram()
        self._travellers: list[Traveller] = []
        self._began = time.monotonic()

    def carry_out(self) -> dict[str, Any]:
        """Run; give the figures."""
        cluster = Cluster(SETTINGS)
        try:
            cluster.wait_ready()
            self._come_in(cluster)
            self._tell("all players are in a map; the storm begins")
            names = [name for name in cluster.places.processes if self._is_victim(cluster, name)]
            killer = Killer(cluster, self._dice, names, KINDS)
            seconds = self._storm(killer)
            cluster.wait_ready(HEALED_SECONDS)
            self._tell("calm")
            restless = self._calm()
            verdict = self._judge(cluster, killer, restless)
            return report.gather(
                self._plan,
                verdict,
                killer.count(),
                self._counts,
                {"move": self._moved, "back": self._back},
                facts(),
                seconds,
            )
        finally:
            for one in self._travellers:
                one.close()
            cluster.stop()

    @staticmethod
    def _is_victim(cluster: Cluster, name: str) -> bool:
        is_plaza = name in cluster.places.maps["plaza"]
        return name.rpartition("-")[0] in KINDS and not is_plaza

    def _come_in(self, cluster: Cluster) -> None:
        plan, gateways = self._plan, cluster.settings.cluster.gateways
        pool = Pool(COMING)
        for number, user in enumerate(plan.users()):
            dice = random.Random(f"{plan.seed} {user}")
            one = Traveller(user, MAPS, dice, plan.rest, self._counts, self._moved, self._back)
            self._travellers.append(one)
            token = cluster.token(user.partition("/")[2])
            pool.spawn(one.connect, cluster.tcp(number % gateways), token)
        pool.join(raise_error=True)

    def _storm(self, killer: Killer) -> float:
        """Kill, until all have moved often enough and enough was killed; give how long it was."""
        plan = self._plan
        began = self._began = time.monotonic()
        living = [gevent.spawn(one.live) for one in self._travellers]
        next_kill, next_tell = plan.kill_every / 2, TELL_EVERY
        while (second := time.monotonic() - began) < plan.most:
            enough = all(killer.count().get(kind, 0) >= plan.least_kills for kind in KINDS)
            if enough and all(one.moves >= plan.moves for one in self._travellers):
                break
            if second >= next_kill:
                next_kill += plan.kill_every
                self._tell(f"kill -9 {killer.kill_next().name}")
            if second >= next_tell:
                next_tell += TELL_EVERY
                self._progress()
            dead = [greenlet for greenlet in living if greenlet.ready()]
            assert not dead, f"a player ended: {dead[0].exception!r}"
            gevent.sleep(TURN)
        for one in self._travellers:
            one.calm()
        gevent.joinall(living, timeout=plan.settle, raise_error=True)
        return time.monotonic() - began

    def _calm(self) -> list[str]:
        """Let all come to rest; give who did not."""
        plan = self._plan
        resting = [gevent.spawn(one.settle, plan.settle) for one in self._travellers]
        gevent.joinall(resting, raise_error=True)
        return [one.user for one, rests in zip(self._travellers, resting, strict=True) if not rests.value]

    def _judge(self, cluster: Cluster, killer: Killer, restless: list[str]) -> Verdict:
        plan = self._plan
        with look(cluster.settings, cluster.places) as looking:
            worlds = {name: looking.world(name) for one in MAPS for name in cluster.places.maps[one]}
            judge = Judge(worlds, looking.stored(plan.users()))
        for one in self._travellers:
            judge.player(one.user, one.steps, one.sent, plan.moves)
        verdict = judge.run(killer.count(), plan.least_kills)
        if restless:
            verdict.failures.append(f"{len(restless)} players found no rest, the first is {restless[0]}")
        return verdict

    def _progress(self) -> None:
        moves = [one.moves for one in self._travellers]
        counts = self._counts
        self._tell(
            f"{sum(moves):>7,} moves, {min(moves)} to {max(moves)} each  "
            f"{counts['told away']:>6,} told away  {counts['inputs sent again']:>7,} inputs again"
        )

    def _tell(self, words: str) -> None:
        seconds = int(time.monotonic() - self._began)
        self._say(f"{seconds // 60:>3}:{seconds % 60:02}  {words}")
