"""Users that log in, join a room, talk and check what they hear; for locust.

    PYTHONPATH=clients/python/src .venv/bin/python -m locust -f loadtest/locustfile.py \\
        --headless -u 200 -r 50 -t 1m --host 127.0.0.1:7000

Rows of the statistics: `connect`, `join`, `publish`, `history` are requests; `own message`
is the time from a publish until the user hears its own message, with everything between.
A message out of order, twice or lost in silence is a failure of `order`, and locust ends
with exit code 1. Tokens are made with the key of the cluster's run folder (--run-dir).

Rooms: user n joins "plaza/locust.<n mod rooms>".
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import User, events, task
from locust.exception import StopUser
from locust.runners import LocalRunner

from common.keys import load_secrets
from loadtest.order import Order
from roost_client import Client, Message, Position, RoostError
from tools.tokens import make_token

PRODUCT = "locust"
TOKEN_SECONDS = 86_400
LAST_MESSAGES = 3.0
"""Seconds a user that ends waits for what it has published itself."""

_numbers = count()


class OrderViolation(Exception):
    """A message came that must not have come then, or one did not come at all."""


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Add our options to locust's."""
    parser.add_argument("--run-dir", default="run", help="run folder of the cluster: its token key")
    parser.add_argument("--rooms", type=int, default=10, help="rooms the users spread over")
    parser.add_argument(
        "--publish-every", type=float, default=1.0, help="seconds between publishes of a user"
    )
    parser.add_argument(
        "--publishes", type=int, default=0, help="a user leaves after so many, locust with the last; 0: stays"
    )


class Talker(User):
    """One client in one room."""

    host = "127.0.0.1:7000"

    def wait_time(self) -> float:
        """Give the pause until the next task: 0.5 to 1.5 times --publish-every."""
        every: float = self.environment.parsed_options.publish_every
        return every * random.uniform(0.5, 1.5)

    def on_start(self) -> None:
        """Log in and join."""
        options = self.environment.parsed_options
        number = next(_numbers)
        key = load_secrets(Path(options.run_dir)).token_key
        self.uid = f"locust{os.getpid()}-{number}"
        self.room = f"plaza/locust.{number % options.rooms}"
        self.order = Order()
        self.last: Position | None = None
        self.published = 0
        self.client = Client(
            self.host, partial(make_token, key, self.uid, PRODUCT, time.time(), TOKEN_SECONDS, {})
        )
        self.client.on("message", self._heard)
        self.client.on("missed", lambda event: self._check(self.order.was_missed(event)))
        self.client.on("gap", self.order.began_anew)
        self.client.on("rejoined", self.order.began_anew)
        self._timed("connect", self.client.connect)
        reply = self._timed("join", partial(self.client.join, self.room))
        if reply is not None:
            self.order.joined(self.room, reply.epoch, reply.offset)

    def on_stop(self) -> None:
        """Wait for the own messages that are still on their way, and leave."""
        until = time.monotonic() + LAST_MESSAGES
        while self.last is not None and not self.order.reached(self.room, *self.last):
            if time.monotonic() > until:
                self._check(f"{self.room}: own message {self.last.offset} was never heard")
                break
            time.sleep(0.05)
        self.client.close()
        runner = self.environment.runner
        if isinstance(runner, LocalRunner) and runner.user_count == 1:
            gevent.spawn(runner.quit)

    @task(20)
    def publish(self) -> None:
        """Say something, with the time in it."""
        data = {"by": self.uid, "at": time.time()}
        self.last = self._timed("publish", partial(self.client.publish, self.room, data)) or self.last
        self.published += 1
        if self.published == self.environment.parsed_options.publishes:
            raise StopUser

    @task(1)
    def history(self) -> None:
        """Read what the room keeps."""
        self._timed("history", partial(self.client.history, self.room, limit=20))

    def _heard(self, event: Message) -> None:
        self._check(self.order.message(event))
        if event.uid == self.uid:
            self._tell("own message", time.time() - event.data["at"], None)

    def _check(self, violation: str | None) -> None:
        if violation is not None:
            self._tell("order", 0.0, OrderViolation(violation))

    def _timed(self, name: str, request: Callable[[], Any]) -> Any:
        """Make a request; give its answer, None when it failed. Locust hears of both."""
        began = time.perf_counter()
        answer, failure = None, None
        try:
            answer = request()
        except (RoostError, OSError) as error:
            failure = error
        self._tell(name, time.perf_counter() - began, failure)
        return answer

    def _tell(self, name: str, seconds: float, failure: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="TCP",
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=failure,
            context={},
        )
