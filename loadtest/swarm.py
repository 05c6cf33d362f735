"""Hundreds of thousands of real connections, driven by locust: a user *is* a flock.

    PYTHONPATH=. .venv/bin/python -m locust -f loadtest/swarm.py --headless -u 4 -r 4 -t 1m \\
        --host 127.0.0.1:7000 --gateways 2 --flock-size 1000 --rooms 40

Each user starts a process (loadtest/flock) that holds `--flock-size` connections to one
gateway's own port, from a source address of its own, in tens of bytes each. They log in, join
one of `--rooms` rooms, ping and publish; what they hear is checked for order, loss and
repeats. What they count comes into locust's statistics all the time: page, headless mode
and distributed workers (`--worker`, on this or another host) work as for any locustfile.

Rows: `login`, `reconnect`, `heartbeat`, `publish`, `delivery` (sent until read), `unicast`,
`broadcast`; `lag` is how late the load client itself was. Anything lost, doubled or out of
order is a failure, and makes the exit code 1. When the load client was the limit and
not the server, a warning says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from locust import User, events, task
from locust.event import EventHook

from common.keys import load_secrets
from common.net.log import Doubling
from loadtest.bench.commands import Commanded
from loadtest.feeding import Feed
from loadtest.flock.bottleneck import Load, judge
from loadtest.flock.histogram import Histogram

PRODUCT = "swarm"
LOGIN_LOOK_SECONDS = 0.25
WATCHED_SECONDS = 10.0
"""Over so long it is judged whether the load client was the limit."""
RESUMES = 10
"""Every so-many-th client keeps its resume token."""
FLOCKS_OF_A_WORKER = 256
"""Flock numbers set aside for each distributed worker."""
WIDEST = 19_000

log = logging.getLogger("roost.swarm")


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our options to locust's."""
    parser.add_argument("--run-dir", default="run", help="run folder of the cluster: its token key")
    parser.add_argument("--gateways", type=int, default=2, help="flock n goes to gateway n mod this")
    parser.add_argument("--flock-size", type=int, default=1_000, help=f"connections of a user, ≤ {WIDEST}")
    parser.add_argument(
        "--connections", type=int, default=0, help="the last flock ends here; 0: all are full"
    )
    parser.add_argument("--rooms", type=int, default=10, help="rooms all clients spread over; 0: none")
    parser.add_argument("--publish-rate", type=float, default=1.0, help="publishes a second of a flock")
    parser.add_argument("--publish-bytes", type=int, default=64, help="padding of a message")
    parser.add_argument("--ping-every", type=float, default=100.0, help="seconds between pings of a client")
    parser.add_argument("--report-every", type=float, default=1.0, help="seconds between two reports")
    parser.add_argument("--window", type=int, default=256, help="logins of a flock under way at once")
    parser.add_argument(
        "--look-every", type=float, default=0.0, help="seconds between two looks of a flock at its sockets"
    )
    parser.add_argument("--logins-at-once", type=int, default=4, help="flocks that come in at the same time")


def _of_run(environment: Any, name: str, make: Callable[[], Any]) -> Any:
    """Give what all flocks of a run share, made by who asks first."""
    shared = vars(environment.events).setdefault("flocks", {})
    if name not in shared:
        shared[name] = make()
    return shared[name]


def reports(environment: Any) -> Any:
    """Give the event fired with (flock, before, report) at each report; locust's statistics hear it first."""

    def make() -> Any:
        hook: Any = EventHook()  # type: ignore[no-untyped-call]
        feed = Feed(environment.stats)
        hook.add_listener(lambda flock, before, report: feed.take(before, report))
        return hook

    return _of_run(environment, "reports", make)


def _logins(environment: Any) -> BoundedSemaphore:
    limit = environment.parsed_options.logins_at_once
    gate: BoundedSemaphore = _of_run(environment, "logins", lambda: BoundedSemaphore(limit))
    return gate


def _numbers(environment: Any) -> Iterator[int]:
    numbers: Iterator[int] = _of_run(environment, "numbers", count)
    return numbers


class Flock(User):
    """Thousands of clients in a process of their own.

    Attributes:
        ready: its process runs.
        number: of this flock, over all workers.
        size: its clients.
        last: its last report; {} before the first.
        began: monotonic seconds of its first connect; infinite before.
    """

    host = "127.0.0.1:7000"
    ready = False
    number: int
    size: int
    began = float("inf")

    def on_start(self) -> None:
        """Start the process, and have its clients come in when it is their turn."""
        self.last: dict[str, Any] = {}
        self._busy, self._owed = BoundedSemaphore(1), 0
        self._slow = Doubling()
        self._watched = {name: Histogram() for name in ("lag", "delivery")}
        self._watched_at, self._watched_cpu = 0, 0.0
        self._process = Commanded("loadtest.flock", self.plan())
        self.ready = True
        with _logins(self.environment):
            self.began = time.monotonic()
            self.order("begin")
            while self.report()["here"] < self.size:
                gevent.sleep(LOGIN_LOOK_SECONDS)
        options = self.environment.parsed_options
        self.order("publish", rate=options.publish_rate, bytes=options.publish_bytes)

    def plan(self) -> dict[str, Any]:
        """Give who its clients are (loadtest/flock/plan.py)."""
        options, runner = self.environment.parsed_options, self.environment.runner
        worker = max(0, getattr(runner, "worker_index", 0))
        self.number = worker * FLOCKS_OF_A_WORKER + next(_numbers(self.environment)) % FLOCKS_OF_A_WORKER
        first = self.number * options.flock_size
        limit = getattr(options, "connections", 0) or first + WIDEST
        self.size = min(options.flock_size, WIDEST, limit - first)
        if self.size < 1:
            raise ValueError(f"no client is left for flock {self.number}: fewer users, or more --connections")
        host, _, base = str(self.host).rpartition(":")
        ports = [int(base) + 100 + index for index in range(options.gateways)]
        return {
            "host": host,
            "port": ports[self.number % len(ports)],
            "others": ports,
            "count": self.size,
            "first": first,
            "rooms": options.rooms,
            "room": "swarm",
            "product": PRODUCT,
            "token_key": load_secrets(Path(options.run_dir)).token_key,
            "source": self.number,
            "window": options.window,
            "resumes": RESUMES,
            "ping_every": options.ping_every,
            "look_every": options.look_every,
        }

    def order(self, do: str, **arguments: Any) -> Any:
        """Have the process do something; give its answer.

        Raises:
            RuntimeError: it failed, died or was too slow.
        """
        with self._busy:
            while self._owed:  # whoever gave the last order was ended before the answer came
                self._process.answer()
                self._owed -= 1
            self._owed += 1
            self._process.begin(do, **arguments)
            answer = self._process.answer()
            self._owed -= 1
        return answer.get("told", answer)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def report(self) -> dict[str, Any]:
        """Take the process's report, and let everybody hear it."""
        report: dict[str, Any] = self.order("report")
        before, self.last = self.last, report
        reports(self.environment).fire(flock=self, before=before, report=report)
        self._watch(report)
        return report

    def _watch(self, report: dict[str, Any]) -> None:
        """Warn when this flock, not the server, was the limit of the last seconds."""
        for name, histogram in self._watched.items():
            histogram.add(report["times"].get(name, {}))
        since = report["at"] - self._watched_at
        if since < WATCHED_SECONDS * 1e6:
            return
        cores = (report["cpu"] - self._watched_cpu) / since * 1e6
        lag, delivery = (one.milliseconds(0.99) for one in self._watched.values())
        verdict = judge(Load((f"flock {self.number}", cores), lag_ms=lag, delivery_ms=delivery))
        if self._watched_at and verdict.who == "client" and self._slow.hit():
            log.warning("flock %d: %s", self.number, verdict.why)
        self._watched = {name: Histogram() for name in self._watched}
        self._watched_at, self._watched_cpu = report["at"], report["cpu"]

    @task
    def live(self) -> None:
        """Report every few seconds."""
        self.act()
        self.report()

    def act(self) -> None:
        """Do what a flock does between two reports: wait."""
        gevent.sleep(self.environment.parsed_options.report_every)

    def settle(self) -> None:
        """Wait, at the end, for what is on its way: for nothing."""

    def on_stop(self) -> None:
        """Report a last time, and end."""
        if not self.ready:
            return
        try:
            self.order("publish", rate=0)
            self.settle()
            self.report()
        finally:
            self._process.close()
