"""How late the flock itself is: whether it was the load client that was slow.

A beat is due ten times a second. One that comes late was kept by what the flock was doing, or by
others on the processor; all that it should have read meanwhile was read as late. As in
common/net/pulse.py, a beat that is 1 s late counts as ten late ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from loadtest.flock.histogram import Histogram

BEAT = 0.1


class Lag:
    """Lateness and CPU of this process.

    Args:
        lateness: where it is counted.
        now: monotonic seconds.
    """

    def __init__(
        self, lateness: Histogram, now: float, cpu: Callable[[], os.times_result] = os.times
    ) -> None:
        self._lateness = lateness
        self._due = now + BEAT
        self._cpu = cpu

    @property
    def due(self) -> float:
        """When the next beat is due."""
        return self._due

    def beat(self, now: float) -> bool:
        """Note the beat if it is due; tell whether it was."""
        if now < self._due:
            return False
        late = now - self._due
        while late > 0:
            self._lateness.record(int(late * 1e6))
            late -= BEAT
        self._due = now + BEAT
        return True

    def cpu_seconds(self) -> float:
        """Give the CPU time this process has used."""
        times = self._cpu()
        return times.user + times.system
