"""What the processes of a run have in common: calm, the end, counters.

The plan's file `calm` asks for calm: connections stay as they are from then on. (A signal
would kill a process that has just been started again.) SIGTERM asks to end; so does the
end of the parent.
"""

from __future__ import annotations

import os
import signal
import time
from itertools import count

import gevent
from gevent.event import Event

from loadtest.torture.counts import Counts
from loadtest.torture.plan import Plan

LOOK_EVERY = 0.25
FLUSH_TURNS = 4


class Child:
    """One process of a run.

    Attributes:
        calm, ending: set when they are asked for.
        counts: flushed all the time.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self.calm = Event()
        self.ending = Event()
        self.counts = Counts(plan.counts(name))
        self._plan = plan
        self._parent = os.getppid()
        gevent.spawn(self._look)
        gevent.signal_handler(signal.SIGTERM, self._end)
        gevent.signal_handler(
            signal.SIGINT, lambda: None
        )  # Ctrl-C reaches the whole group; the parent ends us

    def wait_end(self, ready: str) -> None:
        """Say that all is ready, and wait until the end is asked for or the parent is gone."""
        print(ready, flush=True)
        self.ending.wait()

    def _look(self) -> None:
        """Flush counters, and look whether calm is asked for and the parent lives."""
        for turn in count():
            gevent.sleep(LOOK_EVERY)
            if turn % FLUSH_TURNS == 0:
                self.counts.flush()
            if self._plan.calm.exists():
                self.calm.set()
            if os.getppid() != self._parent:
                self._end()

    def _end(self) -> None:
        self.calm.set()
        self.ending.set()


def now_ms() -> int:
    """Give unix ms."""
    return time.time_ns() // 1_000_000
