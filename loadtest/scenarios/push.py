"""Push: users online, an application server that sends to them. Thresholds: thresholds.py, beside this.

    PYTHONPATH=. .venv/bin/python -m locust -f loadtest/scenarios/push.py --headless -u 3 -r 3 -t 1m \\
        --host 127.0.0.1:7000 --gateways 2 --flock-size 500 --run-dir run

One user of locust broadcasts; each of the others is a flock with an application server beside it, which
sends `--unicast-rate` messages a second to its clients through center, one in `--kept` of them kept. The
API key is made in the cluster of --run-dir; elsewhere give --center and --api-key.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import gevent
from locust import User, events, task

from common.places import Places
from loadtest import swarm
from loadtest.c1000k.application import Application
from loadtest.door import Door
from loadtest.feeding import METHOD, fail
from loadtest.flock.packets import TO_ALL, stamp
from loadtest.flock.timing import unix_us
from loadtest.scenarios import thresholds
from loadtest.scenarios.scenario import Scenario
from tools import apikeys, center, cluster

thresholds.watch("login=10000,unicast=250,broadcast=1000,heartbeat=250", flock_size=500, rooms=0)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our options to locust's."""
    parser.add_argument("--center", default="", help="its URL; that of the cluster of --run-dir")
    parser.add_argument("--api-key", default="", help="with the right to push; one is made", is_secret=True)
    parser.add_argument("--unicast-rate", type=float, default=20.0, help="messages a second to a flock")
    parser.add_argument("--kept", type=int, default=5, help="every so-many-th is kept; 0: none")
    parser.add_argument("--broadcast-every", type=float, default=5.0, help="seconds")


def door(options: Any) -> Door:
    """Give center's door."""
    url, key = options.center, options.api_key
    if not (url and key):
        there, made = _of_run_dir(options.run_dir)
        url, key = url or there, key or made
    return Door(url, key)


@lru_cache
def _of_run_dir(run_dir: str) -> tuple[str, str]:
    settings = cluster.settings_of_running({"ROOST_RUN_DIR": run_dir})
    key = apikeys.create(settings, swarm.PRODUCT, ["push"], "scenario push")
    return center.base_url(settings, Places(settings)), key


class Pushed(Scenario):
    """Users, and the application server that knows them."""

    def on_start(self) -> None:
        """Come in; then the application server begins."""
        options = self.environment.parsed_options
        self._told: dict[str, int] = {}
        self._application: Application | None = None
        super().on_start()
        first = self.number * options.flock_size
        users = range(first, first + self.size)
        self._application = Application(door(options), users, options.kept)

    def act(self) -> None:
        """Send, for as long as it is to the next report."""
        options, application = self.environment.parsed_options, self._application
        assert application is not None
        application.send(options.unicast_rate, options.report_every)
        for words, count in application.errors.items():
            fail(self.environment.stats, "push", words, count - self._told.get(words, 0))
        self._told = application.errors

    def settle(self) -> None:
        """Wait for answers of center first."""
        if self._application is not None:
            self._application.wait()
        super().settle()

    def owed(self) -> int:
        """Give how many messages center took and no client has."""
        sent = self._application.sent if self._application is not None else 0
        heard: int = self.report()["counts"].get("unicasts", 0)
        return super().owed() + max(0, sent - heard)


class Broadcaster(User):
    """Sends to all, now and then; one in the whole swarm."""

    fixed_count = 1
    host = "127.0.0.1:7000"

    def on_start(self) -> None:
        """Know the door."""
        self._door, self._number = door(self.environment.parsed_options), 0

    @task
    def broadcast(self) -> None:
        """Wait, and send one."""
        gevent.sleep(self.environment.parsed_options.broadcast_every)
        self._number += 1
        began, now = time.perf_counter(), unix_us()
        sent = self._door.push("broadcast", {"data": stamp(TO_ALL, self._number, now)})
        self.environment.events.request.fire(
            request_type=METHOD,
            name="broadcast sent",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=None if sent else RuntimeError(f"refused: {dict(self._door.errors)}"),
            context={},
        )
