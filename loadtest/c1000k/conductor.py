"""All flocks of a run, as users of one locust environment: started, ordered, added up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from gevent.pool import Group
from locust.argument_parser import parse_options
from locust.env import Environment

from loadtest.c1000k.size import Size
from loadtest.flock.histogram import Histogram
from loadtest.flock.ledger import TIMES
from loadtest.swarm import Flock, reports
from tests.cluster.cluster import Cluster

REPORT_SECONDS = 2.0


class Conductor:
    """The flocks.

    Args:
        web_port: where locust's page is served; 0: nowhere.

    Attributes:
        times: what was measured since the phase began, by name.
    """

    def __init__(self, cluster: Cluster, size: Size, web_port: int = 0) -> None:
        host, _ = cluster.tcp()
        options = parse_options(args=[])
        vars(options).update(
            run_dir=str(cluster.run_dir),
            gateways=size.gateways,
            connections=size.connections,
            flock_size=size.flock_size,
            rooms=size.rooms,
            publish_rate=0.0,
            publish_bytes=size.bytes,
            ping_every=size.ping_every,
            look_every=size.look_every,
            report_every=REPORT_SECONDS,
            window=size.window,
            logins_at_once=size.logins_at_once,
        )
        self._size = size
        self._environment = Environment(
            user_classes=[Flock], parsed_options=options, host=f"{host}:{cluster.places.port}"
        )
        self._runner = self._environment.create_local_runner()
        self._web: Any = self._environment.create_web_ui("127.0.0.1", web_port) if web_port else None
        self._last: dict[int, Mapping[str, Any]] = {}
        self.times: dict[str, Histogram] = {}
        self.begin_phase()
        reports(self._environment).add_listener(self._heard)

    def start(self) -> None:
        """Have all flocks start, and come in."""
        self._runner.start(self._size.flocks, spawn_rate=self._size.flocks)

    def stop(self) -> None:
        """End them."""
        self._runner.quit()
        if self._web is not None:
            self._web.stop()

    def begin_phase(self) -> None:
        """Measure anew."""
        self.times = {name: Histogram() for name in TIMES}

    def _heard(self, flock: Flock, before: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        self._last[flock.number] = report
        for name, taken in report["times"].items():
            self.times[name].add(taken)

    # what is known

    @property
    def flocks(self) -> list[Flock]:
        """All users that are started, by number."""
        users = [greenlet.args[0] for greenlet in self._runner.user_greenlets if greenlet.args]
        return sorted((user for user in users if user.ready), key=lambda user: user.number)

    @property
    def pids(self) -> dict[str, int]:
        """Flock -> pid, and this process."""
        return {f"flock-{flock.number}": flock.pid for flock in self.flocks} | {"conductor-0": os.getpid()}

    @property
    def here(self) -> int:
        """Clients logged in and joined, as last reported."""
        return sum(report["here"] for report in self._last.values())

    @property
    def counts(self) -> Counter[str]:
        """All counts, over all flocks."""
        return self._sum("counts")

    @property
    def errors(self) -> Counter[str]:
        """What went wrong, in words -> how often."""
        return self._sum("errors")

    def _sum(self, part: str) -> Counter[str]:
        sums: Counter[str] = Counter()
        for report in self._last.values():
            sums.update(report[part])
        return sums

    @property
    def last_broadcast(self) -> int:
        """Unix µs when a client last heard a broadcast."""
        return max((report["last_broadcast"] for report in self._last.values()), default=0)

    # what is done

    def each(self, do: str, **arguments: Any) -> list[Any]:
        """Give an order to every flock, at the same time; give the answers."""
        return self._all(lambda flock: flock.order(do, **arguments))

    def look(self) -> None:
        """Take a report of every flock."""
        self._all(lambda flock: flock.report())

    def _all(self, ask: Callable[[Flock], Any]) -> list[Any]:
        group = Group()
        asked = [group.spawn(ask, flock) for flock in self.flocks]
        group.join(raise_error=True)
        return [one.get() for one in asked]

    def publish(self, messages: float) -> None:
        """Have room messages published, so many a second in all."""
        self.each("publish", rate=messages / len(self.flocks), bytes=self._size.bytes)
