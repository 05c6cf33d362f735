"""What a process counts, and the page center makes of all of them.

Hot paths add to plain integers (`counters.packets_in += 1`, no lock, no call); a
collector reads them when somebody asks. Every name is `roost_<area>_<name>`, the
area being the process group or a part of the kernel (link, rpc, loop, gc).

Between processes metrics travel as *families*, plain lists that msgpack takes:

    [name, type, help, [[sample name, {label: value}, number], …]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from common.errors import ConfigError

Family = list[Any]
Reading = float | Mapping[str, float] | None
"""What a gauge's callable gives: a number, {label value: number}, or None for "not now"."""


class Counters:
    """Plain integers by name: each declared once with its help, starting at 0.

    An undeclared name raises AttributeError at the first `+=`.
    """

    def __init__(self, area: str) -> None:
        self._area = area
        self._helps: dict[str, str] = {}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def declare(self, table: Mapping[str, str]) -> None:
        """Add counters: name -> help.

        Raises:
            ConfigError: a name is there already; those before it stay declared.
        """
        for name, text in table.items():
            if hasattr(self, name):
                raise ConfigError(f"counter {name!r} of {self._area} is declared twice; rename one")
            self._helps[name] = text
            setattr(self, name, 0)

    def values(self) -> dict[str, int]:
        """Give all counters by name."""
        return {name: getattr(self, name) for name in self._helps}

    def collect(self) -> Iterable[Metric]:
        """Give the counters to prometheus_client."""
        for name, text in self._helps.items():
            yield CounterMetricFamily(f"roost_{self._area}_{name}", text, value=getattr(self, name))


class _Gauge:
    """One gauge, read when collected."""

    def __init__(self, name: str, text: str, read: Callable[[], Reading], label: str) -> None:
        self._name = name
        self._text = text
        self._read = read
        self._label = label

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=[self._label] if self._label else None)
        reading = self._read()
        if isinstance(reading, Mapping):
            for value, number in reading.items():
                family.add_metric([value], number)
        elif reading is not None:
            family.add_metric([], reading)
        yield family


class Metrics:
    """All metrics of one process, in a registry of its own.

    Args:
        process_name: e.g. "gateway-0"; its group is the area of `counters`.
    """

    def __init__(self, process_name: str) -> None:
        self.group = process_name.rpartition("-")[0]
        self.registry = CollectorRegistry()
        self._areas: dict[str, Counters] = {}
        self._names: set[str] = set()
        self.counters = self.area(self.group)
        ProcessCollector(registry=self.registry)

    def area(self, name: str, table: Mapping[str, str] | None = None) -> Counters:
        """Give the counters of an area (made at the first call), with `table` declared in it.

        Raises:
            ConfigError: a name of the table is there already.
        """
        counters = self._areas.get(name)
        if counters is None:
            counters = self._areas[name] = Counters(name)
            self.registry.register(counters)
        counters.declare(table or {})
        return counters

    def gauge(
        self, name: str, text: str, read: Callable[[], Reading], *, area: str = "", label: str = ""
    ) -> None:
        """Expose `roost_<area or group>_<name>`, read by a call at each collection.

        Args:
            read: must not switch greenlets; gives {label value: number} where `label` is set.

        Raises:
            ConfigError: the name is there already.
        """
        self.registry.register(_Gauge(self._own(name, area), text, read, label))

    def histogram(self, name: str, text: str, buckets: Sequence[float], *, area: str = "") -> Histogram:
        """Give a histogram `roost_<area or group>_<name>`: `.observe(value)`.

        Raises:
            ConfigError: the name is there already.
        """
        return Histogram(self._own(name, area), text, buckets=buckets, registry=self.registry)

    def families(self) -> list[Family]:
        """Give all metrics as plain lists (module's docstring)."""
        return [
            [
                metric.name,
                metric.type,
                metric.documentation,
                [
                    [s.name, dict(s.labels), s.value]
                    for s in metric.samples
                    if not s.name.endswith("_created")
                ],
            ]
            for metric in self.registry.collect()
        ]

    def _own(self, name: str, area: str) -> str:
        full = f"roost_{area or self.group}_{name}"
        if full in self._names:
            raise ConfigError(f"metric {full!r} is declared twice; rename one")
        self._names.add(full)
        return full


class _Merged:
    """Families of many processes as one collector: a family stands once, samples carry their process."""

    def __init__(self, families_by_process: Mapping[str, Iterable[Family]]) -> None:
        self._metrics: dict[str, Metric] = {}
        for process, families in families_by_process.items():
            group, _, index = process.rpartition("-")
            for name, kind, text, samples in families:
                metric = self._metrics.setdefault(name, Metric(name, text, kind))
                for sample, labels, value in samples:
                    metric.add_sample(sample, {**labels, "group": group, "index": index}, value)

    def collect(self) -> Iterable[Metric]:
        return self._metrics.values()


def render(families_by_process: Mapping[str, Iterable[Family]]) -> bytes:
    """Give the text page for Prometheus.

    Args:
        families_by_process: process name -> its `families()`; each sample gets the
            labels `group` and `index` of its process.
    """
    return generate_latest(_Merged(families_by_process))
