from __future__ import annotations

from typing import Any

import pytest

from common.net.front import untold as module
from common.net.front.untold import Untold
from common.net.metrics import Counters
from tests.common.net.hall.recording import RecordingLinks


@pytest.fixture
def links() -> RecordingLinks:
    return RecordingLinks()


@pytest.fixture
def untold(links: RecordingLinks) -> Untold:
    return Untold(links, Counters("gateway"))


def nudges(links: RecordingLinks) -> dict[str, list[list[Any]]]:
    """Give session -> rows it was told, once."""
    told: dict[str, list[list[Any]]] = {}
    for session, (kind, number, rows, mid, body) in links.take():
        assert (kind, number, mid, body) == ("keep", 0, 0, b"")
        told.setdefault(session, []).extend(rows)
    return told


def test_a_session_that_is_back_hears_the_newest_number_of_each_receiver(
    links: RecordingLinks, untold: Untold
) -> None:
    links.down = {"session-0", "session-1"}
    untold.add("session-0", [["demo/ann", 4, 3], ["demo/bob", 7, 6]])
    untold.add("session-1", [["demo/cat", 9, 8]])
    untold.add("session-0", [["demo/ann", 5, 4]])
    untold.again()
    assert links.sent == []
    links.down = {"session-1"}
    untold.again()
    assert nudges(links) == {"session-0": [["demo/bob", 7, 7], ["demo/ann", 5, 5]]}
    links.down = set()
    untold.again()
    untold.again()
    assert nudges(links) == {"session-1": [["demo/cat", 9, 9]]}
    assert len(untold) == 0


def test_many_receivers_go_in_bounded_items(
    links: RecordingLinks, untold: Untold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NUDGED", 2)
    untold.add("session-0", [[f"demo/u{number}", 1, 0] for number in range(5)])
    untold.again()
    assert [len(item[2]) for _, item in links.take()] == [2, 2, 1]


def test_receivers_are_bounded_and_the_newest_stay(
    links: RecordingLinks, untold: Untold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "USERS", 2)
    untold.add("session-0", [[f"demo/u{number}", 1, 0] for number in range(5)])
    untold.again()
    assert nudges(links) == {"session-0": [["demo/u3", 1, 1], ["demo/u4", 1, 1]]}
    assert untold._counters.values() == {"kept_untold": 5, "kept_forgotten": 3}
