"""What a flock publishes: at a steady rate, each time by a client at random, into its room."""

from __future__ import annotations

import random
from collections.abc import Callable

from loadtest.flock.ledger import Ledger
from loadtest.flock.members import HERE, Members
from loadtest.flock.packets import IN_ROOM, PUBLISH, packet, stamp
from loadtest.flock.plan import Plan


class Publisher:
    """The publishes of a flock.

    Args:
        write: takes (slot, words).

    Attributes:
        due: monotonic seconds of the next one.
    """

    def __init__(
        self, plan: Plan, members: Members, ledger: Ledger, write: Callable[[int, bytes], None]
    ) -> None:
        self._plan = plan
        self._members = members
        self._ledger = ledger
        self._write = write
        self._every = 0.0
        self._bytes = 0
        self._asked: dict[int, int] = {}
        self.due = float("inf")

    def begin(self, rate: float, bytes: int, now: float) -> None:
        """Publish so often a second from now on; 0: no more."""
        self._every = 1 / rate if rate else 0.0
        self._bytes = bytes
        self.due = now + random.random() * self._every if rate else float("inf")

    def step(self, now: float, clock: Callable[[], int]) -> None:
        """Publish what is due; a client whose last one is unanswered is passed over.

        What is late counts from when it was due.
        """
        while self.due <= now:
            late = int((now - self.due) * 1e6)
            self.due += self._every
            slot = random.randrange(self._plan.count)
            if self._members.state[slot] == HERE and slot not in self._asked:
                sent = self._asked[slot] = clock() - late
                room = self._plan.room_name(self._plan.room_number(slot))
                data = stamp(IN_ROOM, 0, sent, self._bytes)
                self._ledger.counts["publishes"] += 1
                self._write(slot, packet("publish", PUBLISH, {"room": room, "data": data}))

    def answered(self, slot: int, at: int) -> None:
        """The `ok` has come, at unix µs."""
        sent = self._asked.pop(slot, None)
        if sent is not None:
            self._ledger.counts["published"] += 1
            self._ledger.times["publish"].record(at - sent)

    def forget(self, slot: int) -> None:
        """The answer will not come."""
        self._asked.pop(slot, None)
