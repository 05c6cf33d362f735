"""The loop's time, shared by all peers of a process that have something to be handled.

Each peer's greenlet takes a slice and lets others run. Were all of fifty busy, these
slices together would keep the loop from its timers and sockets for a tenth of a second;
so they share a budget for each round of the loop, and who finds it spent goes on in the next.
"""

from __future__ import annotations

from time import monotonic

from gevent import get_hub, sleep

from common.net.pace import SLICE_SECONDS

ROUND = 0.01
"""Seconds of all peers, after which the loop looks at its timers and sockets."""
NEXT_ROUND = 1e-6
"""A sleep above 0 ends in another round; `sleep(0)` may end in the same."""


class Turns:
    """Slices of the present round; for greenlets of one loop."""

    def __init__(self) -> None:
        self._loop = get_hub().loop
        self._round = -1
        self._spent = 0.0
        self._began = 0.0

    def begin(self) -> float:
        """Wait until a slice may begin; give the monotonic second it is to end at."""
        while self._is_spent():
            sleep(NEXT_ROUND)
        self._began = monotonic()
        return self._began + SLICE_SECONDS

    def end(self) -> None:
        """Count a slice. Where the handlers in it switched, others' time is counted too."""
        self._spent += monotonic() - self._began

    def _is_spent(self) -> bool:
        if self._loop.iteration != self._round:
            self._round, self._spent = self._loop.iteration, 0.0
        return self._spent >= ROUND
