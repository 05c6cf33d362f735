"""Greenlets for connections that talk, used one after the other: making one costs ten times a switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import getcurrent, greenlet

KEPT = 128
"""Greenlets kept for the next connection that talks: more than end and begin in a tick of the clock."""

Run = Callable[[Any], None]


class Workers:
    """Gives greenlets that run one function after the other; all calls come from the loop."""

    __slots__ = ("_free",)

    def __init__(self) -> None:
        self._free: list[greenlet] = []

    def __len__(self) -> int:
        """Give how many wait for something to do."""
        return len(self._free)

    def take(self) -> greenlet:
        """Give a greenlet that runs `run(data)` when it is switched to with both.

        Only its taker may switch to it, and no longer once that has returned.
        """
        return self._free.pop() if self._free else greenlet(self._work, get_hub())

    def _work(self, run: Run, data: Any) -> None:
        own = getcurrent()
        while True:
            run(data)
            if len(self._free) >= KEPT:
                return
            self._free.append(own)
            run, data = get_hub().switch()
