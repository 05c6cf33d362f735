"""A flock's clock, and how often it looks at its sockets at most."""

from __future__ import annotations

import time


def unix_us() -> int:
    """Give unix µs: what is compared between processes, and hosts whose clocks agree."""
    return time.time_ns() // 1000


class Looks:
    """Pauses between two looks, `every` seconds after the one before at least; 0: none."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = 0.0

    def wait(self) -> None:
        """Wait until the next look is due."""
        if self._every:
            time.sleep(max(0.0, self._last + self._every - time.monotonic()))
            self._last = time.monotonic()
