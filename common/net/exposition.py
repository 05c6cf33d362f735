"""The page for Prometheus, made of what all processes count.

Apart from common/net/metrics.py, since prometheus_client brings HTTP servers and clients
with it: only center has a use for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric

from common.net.metrics import Family


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
