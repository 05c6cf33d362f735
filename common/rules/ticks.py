"""When ticks are due: on a fixed beat, never late twice for one delay.

    due     0   1   2   3   4   5
    ran     0   1────────   4   5        2 and 3 were due while 1 still ran: skipped, counted

A tick's number is its place on the beat, so clients can take it for time.
"""

from __future__ import annotations

from math import floor

LONGEST_STEP = 5
"""Beats a tick simulates at most: after a standstill the world goes on, it does not leap."""


def next_due(due: float, seconds: float, now: float) -> float:
    """Give when a step that was due at `due` is due again: in phase, after `now`.

    A step slower than `seconds` skips the turns it missed, it never catches up.
    """
    return due + seconds * max(1, floor((now - due) / seconds) + 1)


class Schedule:
    """The beat of one map.

    Args:
        rate: ticks a second.
        now: monotonic seconds; tick 1 is due one period later.

    Attributes:
        tick: the next one.
        due: when.
        step: seconds it is to simulate.
    """

    __slots__ = ("_period", "due", "step", "tick")

    def __init__(self, rate: float, now: float) -> None:
        if rate <= 0:
            raise ValueError(f"no schedule of {rate} ticks a second")
        self._period = 1 / rate
        self.tick = 1
        self.due = now + self._period
        self.step = self._period

    def wait(self, now: float) -> float:
        """Give the seconds until the next tick."""
        return max(0.0, self.due - now)

    def done(self, now: float) -> int:
        """The tick is over: set the next one, the first that is still to come.

        Returns:
            How many were skipped.
        """
        due = next_due(self.due, self._period, now)
        passed = round((due - self.due) / self._period)
        self.due = due
        self.tick += passed
        self.step = min(passed, LONGEST_STEP) * self._period
        return passed - 1
