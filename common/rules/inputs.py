"""Inputs of one player on their way to the ticks: so many in each, some may wait, a flood is dropped.

Each input has the client's number; one that is not above the newest is a repeat, and is
not applied again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any


class Inputs:
    """What waits of one player.

    Args:
        limit: inputs that may wait.

    Attributes:
        newest: the largest number taken in.
        dropped: inputs a flood has cost.
        flooding: one was dropped and `take` has not emptied the queue since.
    """

    __slots__ = ("_limit", "_waiting", "dropped", "flooding", "newest")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[int, Any]] = deque()
        self.newest = -1
        self.dropped = 0
        self.flooding = False

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, number: int, data: Any) -> bool:
        """Take an input in; False: too many wait, it is dropped. A repeat changes nothing."""
        if number <= self.newest:
            return True
        if len(self._waiting) >= self._limit:
            self.dropped += 1
            self.flooding = True
            return False
        self.newest = number
        self._waiting.append((number, data))
        return True

    def forget(self, newest: int) -> None:
        """Drop what waits, uncounted; `newest` was the last one applied, the client goes on behind it."""
        self._waiting.clear()
        self.newest = newest
        self.flooding = False

    def take(self, count: int) -> Iterator[tuple[int, Any]]:
        """Give the oldest inputs, at most so many, as (number, data); what is given waits no more."""
        waiting = self._waiting
        while waiting and count > 0:
            count -= 1
            yield waiting.popleft()
        if not waiting:
            self.flooding = False
