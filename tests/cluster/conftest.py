from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, running

MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A ready cluster with the default settings, shared by the tests of a module."""
    with running() as started:
        yield started


@pytest.fixture
def make_cluster() -> Iterator[MakeCluster]:
    """Start ready clusters with settings of the test's own: `make_cluster({"cluster.gateways": 4})`."""
    started: list[Cluster] = []

    def make(settings: Mapping[str, Any] | None = None, ready: bool = True) -> Cluster:
        made = Cluster(settings)
        started.append(made)
        if ready:
            made.wait_ready()
        return made

    try:
        yield make
    finally:
        for made in started:
            made.stop()
