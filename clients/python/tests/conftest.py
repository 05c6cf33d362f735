"""What the client's tests share; they run alone, without the rest of the project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "src"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from scripted_peer import Peer  # noqa: E402


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server on a free port that does what the test tells it."""
    with Peer() as made:
        yield made
