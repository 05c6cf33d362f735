"""How often the loop looks at its sockets at most.

A gateway whose connections are quiet is woken for each single ping: a round of the loop, and two
switches of the processor, for one callback. Looking every few milliseconds it finds several at
a time. That delays what comes by as much at most; what comes after a quiet time is not delayed.
Network cards do the same to the processor, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import get_hub, monkey

_sleep = monkey.get_original("time", "sleep")


class Moderation:
    """Keeps a loop from looking again within `seconds`; the whole process sleeps for the rest of them.

    Args:
        due: gives the monotonic second at which a pause ends at the latest.
    """

    def __init__(self, seconds: float, due: Callable[[], float] = lambda: float("inf")) -> None:
        self._seconds = seconds
        self._due = due
        self._loop = get_hub().loop
        self._looked_at = 0.0
        self._watcher: Any = None

    def start(self) -> None:
        """Begin; nothing happens where `seconds` is 0."""
        if self._seconds and self._watcher is None:
            self._watcher = self._loop.prepare(ref=False)
            self._watcher.start(self._before_look)

    def stop(self) -> None:
        """End it."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _before_look(self) -> None:
        if self._loop._callbacks:  # greenlets that are ready do not wait for sockets
            return
        left = min(self._looked_at + self._seconds, self._due()) - monotonic()
        if left > 0:
            _sleep(left)
        self._looked_at = monotonic()
