"""An application server beside the crowd: one call of center's API at a time, in turn, a few a second."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from common.errors import RequestError
from tests.cluster.cluster import Cluster
from tools.api import Operator

EVERY = 0.25
BROADCAST_EVERY = 20.0
DATA = "x" * 80
TTL = 120
USERS = 50
"""Users it writes to."""


class Application:
    """Calls center; what fails is counted as an error.

    Attributes:
        counts: calls by name.
    """

    def __init__(self, cluster: Cluster, product: str = "soak") -> None:
        self._operator = Operator(cluster.settings, product)
        self.counts: Counter[str] = Counter()
        self._number = 0
        self._due = 0.0
        self._broadcast_due = 0.0
        self._turns: Iterator[tuple[str, Callable[[], Any]]] = itertools.cycle(
            [
                ("unicast", self._unicast),
                ("user", lambda: self._operator.call("GET", f"/v1/users/{self._user()}")),
                ("room", self._room),
                ("dispatch", lambda: self._operator.call("GET", f"/v1/dispatch?uid={self._user()}")),
            ]
        )

    def step(self, now: float) -> None:
        """Make the call that is due, if one is."""
        if now < self._due:
            return
        self._due = now + EVERY
        name, call = next(self._turns)
        if now >= self._broadcast_due:
            self._broadcast_due = now + BROADCAST_EVERY
            name, call = "kept broadcast", self._broadcast
        try:
            call()
            self.counts[name] += 1
        except RequestError as error:
            self.counts[f"error: {name}: {error.code}: {error.message}"] += 1

    def _user(self) -> str:
        self._number += 1
        return f"u{self._number % USERS}"

    def _unicast(self) -> None:
        body = {"to": self._user(), "data": DATA, "keep": True, "ttl": TTL}
        self._operator.call("POST", "/v1/push/unicast", body)

    def _room(self) -> None:
        self._operator.call("POST", "/v1/push/room", {"room": "plaza/soak.1", "data": DATA})

    def _broadcast(self) -> None:
        self._operator.call("POST", "/v1/push/broadcast", {"data": DATA, "keep": True, "ttl": TTL})
