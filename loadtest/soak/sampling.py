"""What every process of a cluster holds, read from outside.

    /proc        resident memory, descriptors
    /metrics     watchers, counters
    /v1/status   queues, pids
    census       greenlets, objects by type
    Redis        keys by kind, memory

Everything is a number under (process, quantity).
"""

from __future__ import annotations

import os
from collections import Counter
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

from common.errors import RequestError
from common.keys import redis_url
from common.net.rpc import Callers, Context
from common.net.store import Store
from loadtest.bench.machine import rss_bytes
from tests.cluster.cluster import Cluster
from tools import center
from tools.control import Supervisor

SCANNED = 2_000
"""Keys one step of SCAN looks at."""
CENSUS_SECONDS = 5.0

Sample = dict[str, dict[str, float]]
"""Process -> quantity -> value."""


class NoAnswer(Exception):
    """A process did not answer in time."""


class Sampler:
    """Reads a running cluster.

    Attributes:
        pids: process -> pid, as first seen; a process that changes it has died.
        kinds: keys in Redis by kind, as last seen.
        types: process -> objects by type, as the last census told.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        url = redis_url(cluster.settings, cluster.places, cluster.secrets)
        self._store = Store(url, cluster.settings.redis)
        self._context = Context()
        self._callers = Callers(self._context, cluster.places, "soak", cluster.settings.rpc)
        self.pids: dict[str, int] = {}
        self.kinds: Counter[str] = Counter()
        self.types: dict[str, dict[str, int]] = {}

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._callers.close()
        self._context.destroy(linger=0)
        self._store.close()

    def sample(self) -> Sample:
        """Read everything once; stops each loop for some ms, to count objects.

        Raises:
            NoAnswer: a process did not answer in time; it may the next time.
            RuntimeError: a process died.
        """
        status = center.status(self._cluster.settings, self._cluster.places)
        page = center.get(f"{self._cluster.center_url()}/metrics")
        if status is None or page is None:
            raise NoAnswer("center does not answer")
        found: Sample = {}
        for row in status["processes"]:
            name = f"{row['group']}-{row['index']}"
            if row["state"] == "down":
                raise NoAnswer(f"{name} does not answer")
            if row["state"] != "ready":
                raise RuntimeError(f"{name} is {row['state']}: {row['missing']}")
            found[name] = {f"queue {queue}": float(size) for queue, size in row["queues"].items()}
            self._processes(found, name, row["pid"])
        supervised = self._cluster.supervised()
        self._processes(found, "redis-0", supervised["redis-0"]["pid"])
        self._processes(found, "gunicorn", supervised["center-0"]["pid"])
        self._processes(found, "supervisord", Supervisor(self._cluster.run_dir).pid() or 0)
        self._metrics(found, page[1])
        found["redis-0"] |= self._redis()
        self._census(found)
        return found

    def _processes(self, found: Sample, name: str, pid: int) -> None:
        if self.pids.setdefault(name, pid) != pid:
            raise RuntimeError(f"{name} was started again: pid {self.pids[name]}, now {pid}")
        values = found.setdefault(name, {})
        try:
            values["rss"] = float(rss_bytes(pid))
            values["descriptors"] = float(len(os.listdir(f"/proc/{pid}/fd")))
        except FileNotFoundError:
            raise RuntimeError(f"{name}, pid {pid}, has ended") from None

    def _metrics(self, found: Sample, page: str) -> None:
        wanted = {
            "roost_loop_watchers": "watchers",
            "roost_center_greenlets": "greenlets",
            "roost_gateway_connections": "connections",
            "roost_world_rooms": "rooms",
            "roost_gateway_rooms": "rooms",
            "roost_session_users": "users",
        }
        for family in text_string_to_metric_families(page):
            quantity = wanted.get(family.name)
            for sample in family.samples if quantity else ():
                assert quantity is not None
                found[f"{sample.labels['group']}-{sample.labels['index']}"][quantity] = sample.value

    def _redis(self) -> dict[str, float]:
        facts: dict[str, str] = {}
        for section in ("memory", "clients"):
            lines = self._store.call("INFO", section).decode().splitlines()
            facts |= dict(line.split(":", 1) for line in lines if ":" in line)
        self.kinds = self._keys()
        audit = sum(int(self._store.call("MEMORY", "USAGE", key, "SAMPLES", 0) or 0) for key in self._audits)
        return {
            "memory": float(facts["used_memory"]) - audit,
            "audit log": float(audit),
            "clients": float(facts["connected_clients"]),
            "keys": float(self.kinds.total()),
        }

    def _keys(self) -> Counter[str]:
        kinds: Counter[str] = Counter()
        self._audits: list[bytes] = []
        cursor = b"0"
        while True:
            cursor, keys = self._store.call("SCAN", cursor, "COUNT", SCANNED)
            for key in keys:
                kinds[kind_of(key.decode())] += 1
                if key.startswith(b"db_audit:"):
                    self._audits.append(key)
            if cursor in (b"0", 0):
                return kinds

    def _census(self, found: Sample) -> None:
        names = self._cluster.places.processes
        for name, told in self._callers.call_each(names, "census", timeout=CENSUS_SECONDS).items():
            if isinstance(told, RequestError):
                raise NoAnswer(f"{name} takes no census: {told}")
            found[name] |= {key: float(told[key]) for key in ("greenlets", "objects")}
            self.types[name] = told["types"]


def kind_of(key: str) -> str:
    """Give what a key of docs/storage.md is: "db_slots", "room log", "gs name"."""
    head, _, rest = key.partition(":")
    if head == "room":
        return f"room {rest.rpartition(':')[2]}"
    return f"{head} {rest.partition(':')[0]}" if head == "gs" else head
