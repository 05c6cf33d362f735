"""What a map's author wants done later, or again and again, by the map's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Any


class Timer:
    """One thing to be done.

    Attributes:
        every: seconds between two times; 0: only once.
    """

    __slots__ = ("_args", "_function", "cancelled", "every")

    def __init__(self, every: float, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.every = every
        self._function = function
        self._args = args
        self.cancelled = False

    def cancel(self) -> None:
        """Do it no more."""
        self.cancelled = True

    def rebind(self, owner: object) -> None:
        """Do from now on what the function of the same name of its owner does.

        Raises:
            AttributeError: there is none any more.
        """
        if getattr(self._function, "__self__", None) is owner:
            self._function = getattr(owner, self._function.__name__)

    def fire(self) -> None:
        """Do it."""
        self._function(*self._args)


class Timers:
    """The timers of one map, by its clock: seconds from its beginning."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = 0

    def add(self, due: float, timer: Timer) -> None:
        """Have a timer given at `due`; of equals the one added first comes first."""
        self._count += 1
        heappush(self._heap, (due, self._count, timer))

    def rebind(self, owner: object) -> None:
        """Let all timers that call a function of `owner` call its present one. Raises as Timer.rebind."""
        for _, _, timer in self._heap:
            timer.rebind(owner)

    def due(self, now: float) -> Iterator[Timer]:
        """Give what is due, in order; what is due again is set anew, once, in phase, after `now`.

        A timer added meanwhile that is due already comes too.
        """
        heap = self._heap
        while heap and heap[0][0] <= now:
            due, _, timer = heappop(heap)
            if timer.cancelled:
                continue
            if timer.every:
                self.add(due + timer.every * (1 + (now - due) // timer.every), timer)
            yield timer
