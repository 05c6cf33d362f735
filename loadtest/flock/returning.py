"""Who comes back when: a random delay that grows with each attempt, as clients are told to.

Source: docs/protocol.md, section 3.7.
"""

from __future__ import annotations

import heapq
import random

BASE, LONGEST = 0.5, 20.0
"""Seconds: random up to base × 2^attempt, at most the longest."""
TRIES = 60


class Returning:
    """Clients without a connection that want one again."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int]] = []
        self._tries: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def add(self, slot: int, now: float) -> bool:
        """Have a client come back later; False: it has tried too often."""
        attempt = self._tries.get(slot, 0)
        if attempt >= TRIES:
            return False
        self._tries[slot] = attempt + 1
        heapq.heappush(self._due, (now + random.uniform(0, min(LONGEST, BASE * 2.0**attempt)), slot))
        return True

    def next(self, now: float) -> int | None:
        """Give a client whose time has come."""
        return heapq.heappop(self._due)[1] if self._due and self._due[0][0] <= now else None

    def arrived(self, slot: int) -> None:
        """A client is in: its next loss is its first."""
        self._tries.pop(slot, None)
