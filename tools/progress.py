"""How far a starting cluster is, told group by group."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from common.places import GROUPS, Places
from common.settings import Settings
from tools import center

SILENCE = 4.0
"""Seconds after which, again and again, it is told what is still missing."""


class Progress:
    """Asks center until the whole cluster is ready.

    Args:
        say: called with a line whenever another group is complete, or nothing was for long.
        clock: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        places: Places,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._places = places
        self._say = say
        self._wanted = Counter(name.rsplit("-", 1)[0] for name in (*places.processes, places.center))
        self._complete: set[str] = set()
        self._words = "nothing answers yet"
        self._clock = clock
        self._began = clock()
        self._silent_until = SILENCE

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began

    def step(self) -> bool:
        """Ask once; tell what is new; True when all is ready."""
        told = center.status(self._settings, self._places)
        if told is not None:
            self._tell(told["processes"])
        ready, self._words = center.healthy(self._settings, self._places)
        if not ready and self.seconds > self._silent_until:
            self._silent_until += SILENCE
            self._say(f"  … {self._words}   ({self.seconds:.0f} s)")
        if ready:
            self._tell_complete(self._wanted)
        return ready

    def _tell(self, rows: list[dict[str, Any]]) -> None:
        self._tell_complete(Counter(row["group"] for row in rows if row["state"] == "ready"))

    def _tell_complete(self, ready: Counter[str]) -> None:
        for group in GROUPS:
            wanted = self._wanted[group]
            if group not in self._complete and ready[group] >= wanted:
                self._complete.add(group)
                self._say(f"  {group:<9} {wanted}/{wanted} ready   ({self.seconds:.1f} s)")

    def missing(self) -> str:
        """Give what keeps the cluster from being ready, in center's words."""
        return self._words
