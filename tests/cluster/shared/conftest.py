"""Files here share one cluster: users and rooms of their own; what one kills is healed at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster, running


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """A ready cluster with the default settings."""
    with running() as started:
        yield started
