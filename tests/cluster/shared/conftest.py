"""Files here share one cluster: users and rooms of their own, and whatever they kill is healed at their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.conftest import running


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """A ready cluster with the default settings."""
    with running() as started:
        yield started
