from __future__ import annotations

from typing import Any

import pytest

from loadtest.bots.view import Snapshot, View, judge


def state(cell: int | None = 1, tick: int = 1, **more: Any) -> dict[str, Any]:
    return {"map": "arena", "tick": tick, **({"cell": cell} if cell is not None else {}), **more}


@pytest.fixture
def view() -> View:
    made = View(you=1)
    made.take(
        state(full=True, enter=[[1, "player", 5, 5, None], [2, "player", 6, 5, None], [3, "heart", 7, 7, 0]])
    )
    return made


def test_others_are_the_players_but_oneself(view: View):
    assert view.others() == {2: (6, 5)}


def test_moves_count_for_what_is_known(view: View):
    view.take(state(tick=2, move=[[2, 8, 9], [77, 1, 1]]))
    assert (view.others(), view.tick) == ({2: (8, 9)}, 2)


def test_a_leave_counts_only_from_the_cell_of_the_last_enter(view: View):
    view.take(state(cell=2, tick=2, enter=[[2, "player", 60, 5, None]]))
    view.take(state(cell=1, tick=2, leave=[2]))
    assert view.others() == {2: (60, 5)}
    view.take(state(cell=2, tick=3, leave=[2]))
    assert view.others() == {}


def test_a_full_state_forgets_what_its_cell_had_told(view: View):
    view.take(state(cell=2, tick=2, enter=[[4, "player", 60, 5, None]]))
    view.take(state(cell=1, tick=3, full=True))
    assert view.others() == {4: (60, 5)}


def test_a_state_without_a_cell_is_no_news_of_places(view: View):
    view.take(state(cell=None, tick=9, ack=4))
    assert (view.others(), view.tick) == ({2: (6, 5)}, 9)


TRUTH = {1: (0, 0), 2: (10, 0), 3: (0, 150), 4: (300, 0), 5: (250, 250)}
SEEN: dict[str, tuple[dict[int, Any], list[str]]] = {
    "all that must be known": ({2: (10, 0)}, []),
    "one that may be known": ({2: (10, 0), 3: (0, 150)}, []),
    "one across a corner": ({2: (10, 0), 5: (250, 250)}, []),
    "one missing": ({}, ["tick 7: 2 at 10 is not known"]),
    "one elsewhere": ({2: (11, 0)}, ["tick 7: 2 is at (10, 0), not at (11, 0)"]),
    "one too far": (
        {2: (10, 0), 4: (300, 0)},
        ["tick 7: 4 is told of from (300, 0) to (0, 0)"],
    ),
}


@pytest.mark.parametrize(("others", "wrong"), SEEN.values(), ids=SEEN)
def test_what_was_known_is_compared_with_what_was_so(others: dict[int, Any], wrong: list[str]):
    assert judge(Snapshot(7, 1, (0, 0), others), TRUTH, near=105, far=255) == wrong
