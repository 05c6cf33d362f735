"""Knowing that one stood still.

A process beats its lease regularly. One whose last beat is too old was frozen
(SIGSTOP, a suspended machine, a loop blocked for seconds): others may have gone on
without it. It raises its term, which makes everything said under the old one void.

Source: docs/architecture.md, leases and fencing.
"""

from __future__ import annotations


class Lease:
    """The beat and the term of one process.

    Args:
        frozen_after: seconds without a beat that mean it was frozen.
        now: monotonic seconds.
    """

    __slots__ = ("beaten_at", "frozen_after", "term")

    def __init__(self, frozen_after: float, now: float) -> None:
        self.frozen_after = frozen_after
        self.beaten_at = now
        self.term = 1

    def frozen(self, now: float) -> bool:
        """Tell whether the last beat is too old."""
        return now - self.beaten_at > self.frozen_after

    def beat(self, now: float) -> bool:
        """Note that the process runs; True when it was frozen and the term went up."""
        was_frozen = self.frozen(now)
        self.beaten_at = now
        if was_frozen:
            self.term += 1
        return was_frozen
