from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster, running

SMALL = {"cluster.sessions": 1, "cluster.dbservers": 1, "cluster.maps": {"plaza": 1}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A ready cluster of two gateways, shared by the tests of a module."""
    with running(SMALL) as started:
        yield started
