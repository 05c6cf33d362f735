"""What a running cluster says of itself, and the CPU time its processes use, center among them."""

from __future__ import annotations

import json
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.machine import cpu_seconds
from tests.cluster.cluster import Cluster

SECONDS = 10


class Meter:
    """CPU time of the cluster's processes since the last reading, by name."""

    def __init__(self, running: Cluster) -> None:
        with urlopen(f"{running.center_url()}/v1/status", timeout=SECONDS) as answer:
            rows = json.load(answer)["processes"]
        self._pids = {f"{row['group']}-{row['index']}": int(row["pid"]) for row in rows}
        self._pids["redis-0"] = running.pid("redis-0")
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def each(self, count: int) -> dict[str, float]:
        """Give µs for each of `count` things that were done since the last reading."""
        before, self._before = self._before, self._read()
        return {name: round((now - before[name]) / count * 1e6, 1) for name, now in self._before.items()}


def lag_ms(running: Cluster) -> dict[str, dict[str, float]]:
    """Give how late the loop of each process ran in the last minute: name -> p50, p99, p99.9, max."""
    with urlopen(f"{running.center_url()}/metrics", timeout=SECONDS) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    found: dict[str, dict[str, float]] = {}
    for family in families:
        if family.name == "roost_loop_lag_ms":
            for sample in family.samples:
                labels = sample.labels
                found.setdefault(f"{labels['group']}-{labels['index']}", {})[labels["quantile"]] = (
                    sample.value
                )
    return found
