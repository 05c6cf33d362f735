"""Looks at servers, flocks and the machine every few seconds, and keeps what it saw."""

from __future__ import annotations

import time
from typing import Any

import gevent

from loadtest.c1000k.conductor import Conductor
from loadtest.c1000k.sampling import Sampler, machine, pss_bytes, samples_of
from loadtest.c1000k.size import Size
from tests.cluster.cluster import Cluster

Sample = dict[str, Any]
"""{at, phase, here, counts, machine, processes: name -> quantity -> value}"""


class Watch:
    """The samples of a run.

    Attributes:
        phase: what goes on; stands in each sample.
        samples: in order; `at` is seconds since the start.
    """

    def __init__(self, cluster: Cluster, size: Size, conductor: Conductor) -> None:
        self._sampler = Sampler(cluster)
        self._size = size
        self._conductor = conductor
        self._began = time.monotonic()
        self._metrics_at = 0.0
        self.phase = "start"
        self.samples: list[Sample] = []

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            started = time.monotonic()
            self.note()
            gevent.sleep(max(0.1, self._size.sample - (time.monotonic() - started)))

    def note(self) -> None:
        """Keep a sample."""
        self.samples.append(self.look())

    def look(self, full: bool = False) -> Sample:
        """Read everything now; `full`: with memory exactly shared out, and metrics, which take longer."""
        conductor, sampler = self._conductor, self._sampler
        processes = sampler.processes(sampler.pids() | conductor.pids)
        if full:
            for values in processes.values():
                values["pss"] = float(pss_bytes(int(values["pid"])))
        if full or self.now >= self._metrics_at:
            self._metrics_at = self.now + self._size.metrics
            for name, values in sampler.metrics().items():
                processes.setdefault(name, {}).update(values)
        return {
            "at": self.now,
            "phase": self.phase,
            "here": conductor.here,
            "counts": dict(conductor.counts),
            "machine": machine()._asdict(),
            "processes": processes,
        }


def share(busy: float, idle: float) -> float:
    """Give which part of the time was busy."""
    return busy / (busy + idle) if busy + idle else 0.0


def cpu_between(before: Sample, after: Sample) -> dict[str, float]:
    """Give the CPU seconds each process used between two samples; none if it was started again."""
    was = samples_of(before, "cpu")
    return {name: max(0.0, cpu - was.get(name, cpu)) for name, cpu in samples_of(after, "cpu").items()}


def cores_between(before: Sample, after: Sample) -> dict[str, float]:
    """Give the cores each process used between two samples."""
    seconds = max(0.01, after["at"] - before["at"])
    return {name: used / seconds for name, used in cpu_between(before, after).items()}
