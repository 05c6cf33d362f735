"""What the scenarios share: a flock that, at the end, waits until its clients have heard everything."""

from __future__ import annotations

import time
from typing import Any

import gevent
from locust import events

from loadtest import swarm
from loadtest.feeding import fail

LOOK_SECONDS = 0.1


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our options to locust's."""
    parser.add_argument(
        "--settle", type=float, default=5.0, help="seconds at the end for what is on its way; then it is lost"
    )


class Scenario(swarm.Flock):
    """A flock whose losses are counted to the last message."""

    abstract = True

    def settle(self) -> None:
        """Wait until nothing is owed any more; what still is then was lost."""
        until = time.monotonic() + self.environment.parsed_options.settle
        while (owed := self.owed()) and time.monotonic() < until:
            gevent.sleep(LOOK_SECONDS)
        fail(self.environment.stats, "order", "unheard", owed)

    def owed(self) -> int:
        """Give how many messages the clients have not heard, but must."""
        lacking: int = self.order("uneven")
        return lacking
