from __future__ import annotations

import pytest

from common.net.hall.book import Book
from tests.common.net.hall.durable import make_scene, scene
from tests.common.net.hall.recording import Clock, RecordingLinks, make_book

__all__ = ["make_scene", "scene"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def links() -> RecordingLinks:
    return RecordingLinks()


@pytest.fixture
def book(links: RecordingLinks, clock: Clock) -> Book:
    return make_book(links, clock)
