"""Who is to be pinged next, and whose ping was not answered: all in turn, evenly over the interval."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from loadtest.flock.members import HERE, Members

ANSWER_SECONDS = 15.0
"""A client whose ping is unanswered for so long takes its connection for dead."""


class Heartbeats:
    """The pings of a flock.

    Args:
        every: seconds between two pings of a client; 0: none.
    """

    def __init__(self, members: Members, every: float) -> None:
        self._members = members
        self._every = every
        self._next = 0
        self._at: float | None = None
        self._asked: deque[tuple[int, int]] = deque()

    def due(self, now: float) -> Iterator[int]:
        """Walk the slots that are due since the last call; `now` is monotonic seconds."""
        count = len(self._members)
        if not self._every or self._at is None:
            self._at = now
            return
        due = int((now - self._at) / self._every * count)
        self._at += due * self._every / count
        for _ in range(min(due, count)):
            slot = self._next
            self._next = (slot + 1) % count
            if self._members.state[slot] == HERE:
                yield slot

    def asked(self, slot: int, now: int) -> None:
        """Note a ping, sent at unix µs."""
        self._members.asked[slot] = now
        self._asked.append((now, slot))

    def overdue(self, now: int) -> Iterator[int]:
        """Walk the slots that are here and whose ping has waited too long, once each."""
        limit, members = now - int(ANSWER_SECONDS * 1e6), self._members
        while self._asked and self._asked[0][0] <= limit:
            asked, slot = self._asked.popleft()
            waits = members.asked[slot] == asked and members.answered[slot] < asked
            if waits and members.state[slot] == HERE:
                yield slot
