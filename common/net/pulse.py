"""How late the loop runs, and how long garbage collection stands in its way.

A timer asks to be called every 100 ms and notes how late it is. A loop that stood
still for a second has made ten calls late, by 1.0 s, 0.9 s …: all ten are noted, so
the percentiles are those of work that arrived at any instant, not of the lucky
moments (the "coordinated omission" of latency measuring).
"""

from __future__ import annotations

import gc
from array import array
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import Any

import gevent

from common.net.metrics import Metrics

EVERY = 0.1
"""Seconds between two measurements."""
WINDOW = 60.0
"""Seconds the percentiles speak of."""
GC_THRESHOLDS = (100_000, 20, 100)
"""Allocations before a young collection, and how many of those before the older ones."""


class Lag:
    """Lateness of the last `window` seconds; no I/O, no clock."""

    def __init__(self, every: float = EVERY, window: float = WINDOW) -> None:
        self._every = every
        self._late = array("d", [0.0]) * max(1, round(window / every))
        self._next = 0
        self._filled = 0

    def add(self, late: float) -> None:
        """Note one call that came `late` seconds late, and those that were due meanwhile."""
        late = max(0.0, late)
        for _ in range(min(len(self._late), 1 + int(late / self._every))):
            self._late[self._next] = late
            self._next = (self._next + 1) % len(self._late)
            self._filled = min(self._filled + 1, len(self._late))
            late -= self._every

    def milliseconds(self) -> dict[str, float]:
        """Give p50, p99, p99.9 and max in ms; all 0 before the first measurement."""
        ordered = sorted(self._late[: self._filled]) or [0.0]
        last = len(ordered) - 1
        picked = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
        return {name: round(ordered[round(share * last)] * 1000, 3) for name, share in picked.items()}


class Pauses:
    """Count and length of garbage collections: to be put among `gc.callbacks`."""

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._began: float | None = None
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0

    def clear(self) -> None:
        """Forget what was measured, as while starting: nobody was kept waiting then."""
        self.count, self.total_ms, self.max_ms = 0, 0.0, 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Take one call of the collector: `phase` is start or stop."""
        if phase == "start":
            self._began = self._clock()
        elif self._began is not None:
            pause = (self._clock() - self._began) * 1000
            self._began = None
            self.count += 1
            self.total_ms += pause
            self.max_ms = max(self.max_ms, pause)


class Pulse:
    """Measures this process from `start` to `stop`, without a greenlet of its own."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._timer: Any = None
        self._due = 0.0
        self.lag = Lag()
        self.pauses = Pauses()

    def start(self) -> None:
        """Begin to measure; a second call changes nothing."""
        if self._timer is not None:
            return
        gc.callbacks.append(self.pauses)
        self._timer = gevent.get_hub().loop.timer(EVERY, EVERY, ref=False)
        self._arm()

    def stop(self) -> None:
        """End measuring; what was measured stays readable."""
        if self._timer is None:
            return
        gc.callbacks.remove(self.pauses)
        self._timer.stop()
        self._timer.close()
        self._timer = None

    def expose(self, metrics: Metrics) -> None:
        """Put lag and pauses among the metrics, as areas `loop` and `gc`."""
        pauses = self.pauses
        metrics.gauge(
            "lag_ms",
            "lateness of the loop over a minute",
            self.lag.milliseconds,
            area="loop",
            label="quantile",
        )
        loop = gevent.get_hub().loop
        metrics.gauge("watchers", "active watchers: sockets and timers", lambda: loop.activecnt, area="loop")
        metrics.gauge("pauses", "garbage collections since start", lambda: pauses.count, area="gc")
        metrics.gauge("pause_ms_sum", "time in garbage collections", lambda: pauses.total_ms, area="gc")
        metrics.gauge("pause_ms_max", "longest garbage collection", lambda: pauses.max_ms, area="gc")

    def _arm(self) -> None:
        self._due = self._clock() + EVERY
        self._timer.again(self._beat, update=True)

    def _beat(self) -> None:
        self.lag.add(self._clock() - self._due)
        self._arm()


def freeze_heap() -> None:
    """Take all that lives now out of garbage collection, and make collections rare.

    To be called once, after start: what modules and tables hold is never looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
