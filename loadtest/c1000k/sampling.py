"""All processes of a run and the machine, read from outside while it goes on.

/proc/<pid>      resident memory, CPU, of servers and flocks
/proc/meminfo    what the kernel holds: Slab, page tables; sockstat: TCP buffers
/proc/stat       how busy the machine is
/metrics         lateness of each server's loop, pauses of its garbage collection
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.machine import cpu_seconds, processor_seconds, rss_bytes
from tests.cluster.cluster import Cluster
from tools import center

PAGE = os.sysconf("SC_PAGE_SIZE")
KERNEL = ("Slab", "PageTables", "KernelStack")
WANTED = {
    "roost_loop_lag_ms": "lag",
    "roost_gc_pause_ms_max": "gc",
    "roost_gateway_connections": "connections",
    "roost_session_users": "users",
    "roost_world_members": "members",
}


class Machine(NamedTuple):
    """Seconds of all processors together, and bytes.

    Args:
        kernel: held by the kernel for its own.
        available: what programs could still get.
    """

    busy: float
    idle: float
    kernel: int
    available: int


def machine() -> Machine:
    """Read the machine."""
    busy, idle = processor_seconds()
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    memory = {line[0].rstrip(":"): int(line[1]) * 1024 for line in lines}
    kernel = sum(memory[name] for name in KERNEL) + tcp_bytes(Path("/proc/net/sockstat").read_text())
    return Machine(busy, idle, kernel, memory["MemAvailable"])


def tcp_bytes(sockstat: str) -> int:
    """Give what TCP's buffers hold, from the text of /proc/net/sockstat."""
    words = next(line.split() for line in sockstat.splitlines() if line.startswith("TCP:"))
    return int(words[words.index("mem") + 1]) * PAGE


def pss_bytes(pid: int) -> int:
    """Give a process's memory, pages it shares divided by who shares them; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


class Sampler:
    """Reads a running cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def pids(self) -> dict[str, int]:
        """Give the servers' pids now, by name: center is the worker under gunicorn."""
        rows = self._cluster.supervised().items()
        pids = {name: int(row["pid"]) for name, row in rows if row["pid"]}
        with suppress(psutil.Error, KeyError):
            for worker in psutil.Process(pids["center-0"]).children():
                pids["gunicorn-0"], pids["center-0"] = pids["center-0"], worker.pid
        return pids

    def processes(self, pids: dict[str, int]) -> dict[str, dict[str, float]]:
        """Give memory (bytes) and CPU (seconds) of each; one that has ended is left out."""
        found: dict[str, dict[str, float]] = {}
        for name, pid in pids.items():
            try:
                found[name] = {"rss": float(rss_bytes(pid)), "cpu": cpu_seconds(pid), "pid": pid}
            except OSError:
                continue
        return found

    def metrics(self) -> dict[str, dict[str, float]]:
        """Give name -> {lag_p50, lag_p99, lag_p99.9, lag_max, gc, …} in ms; {} when center is too busy."""
        page = center.get(f"{self._cluster.center_url()}/metrics")
        return read_metrics(page[1]) if page is not None and page[0] == 200 else {}


def read_metrics(page: str) -> dict[str, dict[str, float]]:
    """Read what is wanted of center's page: process -> quantity -> value."""
    found: dict[str, dict[str, float]] = {}
    lines = [line for line in page.splitlines() if any(name in line for name in WANTED)]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        quantity = WANTED.get(family.name)
        for sample in family.samples if quantity else ():
            labels = sample.labels
            suffix = f"_{labels['quantile']}" if "quantile" in labels else ""
            found.setdefault(f"{labels['group']}-{labels['index']}", {})[f"{quantity}{suffix}"] = sample.value
    return found


def group_of(name: str) -> str:
    """Give the group of "gateway-12"."""
    return name.rpartition("-")[0]


def by_group(values: dict[str, float]) -> dict[str, float]:
    """Add up by group."""
    sums: dict[str, float] = {}
    for name, value in values.items():
        sums[group_of(name)] = sums.get(group_of(name), 0.0) + value
    return sums


def samples_of(sample: dict[str, Any], quantity: str) -> dict[str, float]:
    """Give one quantity of all processes of a sample."""
    return {name: values[quantity] for name, values in sample["processes"].items() if quantity in values}
