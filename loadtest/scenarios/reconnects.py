"""Reconnects: clients lose their connections all the time and miss nothing. Thresholds: thresholds.py.

    PYTHONPATH=. .venv/bin/python -m locust -f loadtest/scenarios/reconnects.py --headless -u 4 -r 4 -t 1m \\
        --host 127.0.0.1:7000 --gateways 2 --flock-size 500 --rooms 40 --run-dir run

Every `--storm-every` seconds `--storm-share` of a flock's connections close at once; their clients come
back after a random delay, by resume token and through any gateway, join with the offset they had, and are
told what was said meanwhile. What is missing or comes twice then is a breach.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust import events

from loadtest.scenarios import thresholds
from loadtest.scenarios.scenario import Scenario

thresholds.watch(
    "login=10000,reconnect=5000,delivery=500,publish=500",
    flock_size=500,
    rooms=40,
    publish_rate=10.0,
    ping_every=20.0,
)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our options to locust's."""
    parser.add_argument("--storm-every", type=float, default=2.0, help="seconds between two storms")
    parser.add_argument("--storm-share", type=float, default=0.1, help="of a flock that leaves at once")


class Leaver(Scenario):
    """Clients that leave and come back."""

    def plan(self) -> dict[str, Any]:
        """Give a plan in which every client keeps its resume token."""
        return super().plan() | {"resumes": 1}

    def act(self) -> None:
        """Have some lose their connections, and wait."""
        options = self.environment.parsed_options
        self.order("storm", share=options.storm_share)
        gevent.sleep(options.storm_every)

    def owed(self) -> int:
        """Give what was not heard, and who is not back."""
        return super().owed() + self.size - int(self.report()["here"])
