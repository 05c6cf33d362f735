"""Traffic in one room, and what each client saw of it.

Every client publishes numbered messages and keeps what it hears. A `Witness` fails
on the spot when an offset comes twice, out of order, or after a hole that nobody
announced.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gevent import Greenlet, joinall, sleep, spawn

from roost_client import Client
from roost_client.errors import ConnectionLost, RequestError, Timeout
from roost_client.events import Gap, Message, Missed, Rejoined
from tests.cluster.cluster import Cluster

TURN = 0.05


class Witness:
    """One client in one room, with everything it heard.

    Attributes:
        heard: (epoch, offset) -> (uid, data), in the order heard.
        announced: holes the client was told of: Missed, Gap with a new epoch, Rejoined unrecovered.
        confirmed: data -> (epoch, offset) of publishes answered with ok at the first try.
        refused: data -> code of those that were not.
    """

    def __init__(self, cluster: Cluster, uid: str, gateways: Sequence[int], room: str) -> None:
        self.uid = uid
        self.room = room
        self.heard: dict[tuple[Any, int], tuple[str, Any]] = {}
        self.announced: list[Any] = []
        self.events: list[Any] = []
        self.confirmed: dict[str, tuple[Any, int]] = {}
        self.refused: dict[str, str] = {}
        self.fault = ""
        self._last: tuple[Any, int] = (None, 0)
        self._may_jump = True
        addresses = [cluster.tcp(index) for index in gateways]
        self.client = Client(addresses, lambda: cluster.token(uid), device="test")
        self.client.connect()
        reply = self.client.join(room)
        self._last = (reply.epoch, reply.offset)
        self._listener = spawn(self._listen)

    def _listen(self) -> None:
        for event in self.client.events():
            self._take(event)

    def _take(self, event: Any) -> None:
        if isinstance(event, Message):
            self._take_message(event)
            return
        self.events.append(event)
        new_epoch = isinstance(event, Gap) and event.reason == "epoch"
        unrecovered = isinstance(event, Rejoined) and not event.recovered
        if isinstance(event, Missed) or new_epoch or unrecovered:
            self.announced.append(event)
            self._may_jump = True

    def _take_message(self, event: Message) -> None:
        place = (event.epoch, event.offset)
        epoch, offset = self._last
        if place in self.heard:
            self.fault = f"{self.uid} heard {place} twice"
        elif event.epoch == epoch and event.offset <= offset:
            self.fault = f"{self.uid} heard {place} after {self._last}"
        elif place != (epoch, offset + 1) and not self._may_jump:
            self.fault = f"{self.uid} heard {place} after {self._last}, and nobody said why"
        self.heard[place] = (event.uid, event.data)
        self._last = place
        self._may_jump = False

    def publish(self, count: int, pause: float) -> None:
        """Publish `count` messages, each tried once; data is "uid number", and the key too."""
        for number in range(count):
            data = f"{self.uid}:{number}"
            try:
                place = self.client.publish(self.room, data, key=data, timeout=10)
                self.confirmed[data] = (place.epoch, place.offset)
            except (RequestError, Timeout, ConnectionLost) as error:
                self.refused[data] = getattr(error, "code", type(error).__name__)
            sleep(pause)

    def repeat_refused(self) -> dict[str, tuple[Any, int]]:
        """Send again, with its key, what was not confirmed; give where each ended up."""
        again = {}
        for data in self.refused:
            place = self.client.publish_surely(self.room, data, timeout=20, key=data)
            again[data] = (place.epoch, place.offset)
        return again

    def close(self) -> None:
        """Leave for good."""
        self.client.close()
        self._listener.kill(timeout=2)


class Traffic:
    """Several witnesses in one room, publishing all the time."""

    def __init__(self, cluster: Cluster, room: str, clients: int, gateways: int) -> None:
        self.room = room
        indexes = range(gateways)
        order = [[(first + step) % gateways for step in indexes] for first in range(clients)]
        name = room.replace("/", ".")
        started = [spawn(Witness, cluster, f"{name}-{n}", order[n], room) for n in range(clients)]
        joinall(started, raise_error=True)
        self.witnesses: list[Witness] = [greenlet.value for greenlet in started]
        self._publishing: list[Greenlet[..., Any]] = []

    def start(self, count: int, pause: float) -> None:
        """Let each client publish `count` messages in the background."""
        self._publishing = [spawn(witness.publish, count, pause) for witness in self.witnesses]

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until all have published."""
        joinall(self._publishing, timeout=seconds, raise_error=True)
        assert all(greenlet.ready() for greenlet in self._publishing), "publishing did not end"

    def settle(self, seconds: float = 15.0) -> None:
        """Wait until everybody has heard the newest message of the room."""
        deadline = time.monotonic() + seconds
        newest = self.witnesses[0].client.publish_surely(self.room, "the last one", timeout=seconds)
        while not all(tuple(newest) in witness.heard for witness in self.witnesses):
            late = [w.uid for w in self.witnesses if tuple(newest) not in w.heard]
            states = {
                w.uid: (w.client.state, w._last, w.events[-4:]) for w in self.witnesses if w.uid in late
            }
            assert time.monotonic() < deadline, f"{newest} did not reach {states}"
            sleep(TURN)

    @property
    def ok_share(self) -> float:
        """Give the share of publishes that were answered with ok at the first try."""
        confirmed = sum(len(witness.confirmed) for witness in self.witnesses)
        return confirmed / (confirmed + sum(len(witness.refused) for witness in self.witnesses))

    def check(self) -> None:
        """Fail on anything heard twice, out of order, or missing without a word."""
        faults = [witness.fault for witness in self.witnesses if witness.fault]
        assert not faults, faults
        agreed: dict[tuple[Any, int], tuple[str, Any]] = {}
        for witness in self.witnesses:
            for place, said in witness.heard.items():
                assert agreed.setdefault(place, said) == said, f"two clients differ about {place}"

    def close(self) -> None:
        """Let all leave."""
        joinall([spawn(witness.close) for witness in self.witnesses], timeout=10)
