"""What a crowd does, each until it is done, and what was measured meanwhile.

steady      messages at a fixed rate, timed from when they were due whether or not they could be
            published then: a server that does not keep up is late, not idle
saturate    as much as goes: each topic always has a window of messages under way
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from loadtest.bench.machine import cpu_seconds, processor_seconds
from loadtest.flock.histogram import Histogram
from loadtest.peers.crowd import Crowd, now_us

LONGEST_WAIT = 0.05
HURRY = 0.001
"""Seconds a look at the sockets takes at most while there is more to publish."""


class Reading:
    """All counts at one moment."""

    def __init__(self, crowd: Crowd) -> None:
        self.at = time.monotonic()
        self.heard, self.reads = crowd.heard, crowd.reads
        self.client = time.process_time()
        self.servers = {name: cpu_seconds(pid) for name, pid in crowd.plan.pids.items()}
        self.busy, self.idle = processor_seconds()

    def until(self, later: Reading) -> dict[str, Any]:
        """Give what happened between this one and a later one."""
        seconds, machine = later.at - self.at, later.busy - self.busy + later.idle - self.idle
        return {
            "seconds": seconds,
            "deliveries": later.heard - self.heard,
            "reads": later.reads - self.reads,
            "client_cores": (later.client - self.client) / seconds,
            "cpu": {name: used - self.servers[name] for name, used in later.servers.items()},
            "idle": (later.idle - self.idle) / machine if machine else 0.0,
        }


def rest(crowd: Crowd, seconds: float) -> dict[str, Any]:
    """Say nothing; go on reading."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        crowd.turn(min(left, LONGEST_WAIT))
    return {}


def hello(crowd: Crowd) -> dict[str, Any]:
    """Publish one message into each topic and wait until all have it: nothing is measured before."""

    def drive() -> None:
        for place in range(crowd.plan.topics):
            crowd.publish(place, [now_us()])

    return _whole(crowd, drive)


def saturate(crowd: Crowd, seconds: float, warm_up: float = 0.5) -> dict[str, Any]:
    """Keep every topic's window full."""
    taken: dict[str, Any] = {}

    def drive() -> None:
        _refill_until(crowd, time.monotonic() + warm_up)
        before = Reading(crowd)
        _refill_until(crowd, before.at + seconds)
        taken.update(before.until(Reading(crowd)))

    return _whole(crowd, drive) | taken


def _refill_until(crowd: Crowd, until: float) -> None:
    window, quiet = crowd.plan.window, crowd.plan.quiet
    crowd.last_heard = now = time.monotonic()
    while now < until:
        refilled = False
        for place, topic in enumerate(crowd.topics):
            free = window - math.ceil(topic.under_way)
            if free > 0 and topic.subscribers:
                crowd.publish(place, [0] * free)
                refilled = True
        crowd.turn(HURRY if refilled else min(LONGEST_WAIT, until - now))
        now = time.monotonic()
        if now - crowd.last_heard > quiet:  # what is under way was dropped
            for topic in crowd.topics:
                topic.forgive()
            crowd.last_heard = now


def steady(crowd: Crowd, rate: float, seconds: float, warm_up: float = 0.3) -> dict[str, Any]:
    """Publish so that there are `rate` deliveries a second, into each topic in turn.

    A message that finds its topic's window full waits, and all behind it; it was due all the same.
    """
    taken: dict[str, Any] = {}
    times, late = Histogram(), Histogram()
    every = crowd.plan.subscribers / rate

    def drive() -> None:
        pace = Pace(crowd, every)
        pace.run_until(time.monotonic() + warm_up, None)
        crowd.times = times
        before = Reading(crowd)
        pace.run_until(before.at + seconds, late)
        taken.update(before.until(Reading(crowd)))

    counts = _whole(crowd, drive)
    crowd.times = None
    return counts | taken | {"times": times.summary(), "late": late.summary()}


class Pace:
    """Publishes when it is time."""

    def __init__(self, crowd: Crowd, every: float) -> None:
        self._crowd = crowd
        self._every = every
        self._due = time.monotonic() + every
        self._turn = 0

    def run_until(self, until: float, late: Histogram | None) -> None:
        """Go on until then; count how late each was published."""
        crowd = self._crowd
        while (now := time.monotonic()) < until:
            while self._due <= now and self._publish(now, late):
                self._due += self._every
            crowd.turn(max(0.0, min(self._due, until) - now, HURRY if self._due <= now else 0.0))

    def _publish(self, now: float, late: Histogram | None) -> bool:
        crowd = self._crowd
        place = self._turn % len(crowd.topics)
        if crowd.topics[place].under_way > crowd.plan.window:
            return False
        crowd.publish(place, [int(self._due * 1e6)])
        if late is not None:
            late.record(int((now - self._due) * 1e6))
        self._turn += 1
        return True


def _whole(crowd: Crowd, drive: Callable[[], None]) -> dict[str, Any]:
    """Do something, wait until all of it has come or nothing comes any more; give what became of it."""
    before = crowd.counts()
    drive()
    crowd.last_heard = time.monotonic()
    while crowd.heard < crowd.expected - (before["expected"] - before["heard"]):
        if time.monotonic() - crowd.last_heard > crowd.plan.quiet:
            break
        crowd.turn(LONGEST_WAIT)
    for topic in crowd.topics:
        topic.forgive()
    counts = {name: count - before[name] for name, count in crowd.counts().items()}
    lost = max(0, counts["expected"] - counts["heard"])
    return {name: counts[name] for name in ("repeats", "misordered")} | {
        "lost": lost,
        "published": counts["expected"] // crowd.plan.subscribers,
        "errors": crowd.errors(),
    }
