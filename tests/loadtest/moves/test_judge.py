"""A judge that cannot say guilty proves nothing: each breach is shown to it once."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.moves.judge import FAULTS, KINDS, Judge, State, Verdict

A, B = "p/a/0.1", "p/b/1.1"
KILLS = dict.fromkeys(KINDS, 2)


def state(place: str, *numbers: int, user: str = "ann", **more: Any) -> State:
    """A player that has taken up these items."""
    last = numbers[-1] if numbers else -1
    return State(place, last, tuple((user, number) for number in numbers))._replace(**more)


STEPS = [state(A), state(B, 1, 2), state(A, 1, 2, 4)]
RIGHT = state(A, 1, 2, 4, 5)
STORED = state(A, 1, 2, 4)


def judged(
    worlds: dict[str, dict[str, State]] | None = None,
    stored: tuple[str, State] = ("world-0", STORED),
    steps: list[State] | None = None,
    kills: dict[str, int] | None = None,
) -> Verdict:
    """Judge ann, who sent six inputs and moved twice."""
    found = {"world-0": {"ann": RIGHT}, "world-1": {}} if worlds is None else worlds
    judge = Judge(found, {"ann": stored})
    judge.player("ann", STEPS if steps is None else steps, 6, 2)
    return judge.run(KILLS if kills is None else kills, 2)


def test_a_player_in_one_map_with_all_it_was_told_passes() -> None:
    verdict = judged()
    assert verdict.passed
    assert (verdict.players, verdict.moves) == (1, 2)


def test_inputs_that_were_never_applied_are_no_fault() -> None:
    assert judged({"world-0": {"ann": STORED}}).passed


def test_a_player_without_items_passes() -> None:
    nothing = state(A)
    assert judged({"world-0": {"ann": nothing}}, ("world-0", nothing), [nothing, state(B), nothing]).passed


def in_world(found: State) -> dict[str, Any]:
    return {"worlds": {"world-0": {"ann": found}}}


# what is there -> what it is blamed for
GUILTY: dict[str, tuple[dict[str, Any], set[str]]] = {
    "nowhere": ({"worlds": {"world-0": {}, "world-1": {}}}, {"nowhere"}),
    "in two": (
        {"worlds": {"world-0": {"ann": RIGHT}, "world-1": {"ann": RIGHT}}},
        {"in two maps", "elsewhere"},
    ),
    "stored for another world": ({"stored": ("world-1", STORED)}, {"elsewhere"}),
    "stored for another place": ({"stored": ("world-0", STORED._replace(place=B))}, {"elsewhere"}),
    "stored for nobody": ({"stored": ("", STORED)}, {"elsewhere"}),
    "an older state than told": (
        {**in_world(state(A, 1, 2)), "stored": ("world-0", state(A, 1, 2))},
        {"lost"},
    ),
    "an older state than stored": (in_world(state(A, 1, 2)), {"lost"}),
    "told less after a move": ({"steps": [STEPS[0], STEPS[1], state(A, 1), STEPS[2]]}, {"lost"}),
    "an item twice": (in_world(state(A, 1, 2, 2, 4)), {"doubled"}),
    "an item of an input never sent": (in_world(state(A, 1, 2, 4, 7)), {"invented"}),
    "an item of somebody else": (
        in_world(RIGHT._replace(items=(*RIGHT.items[:-1], ("bob", 5)))),
        {"invented"},
    ),
    "an input applied late": (in_world(state(A, 2, 1, 4)), {"out of order"}),
    "a number that was not taken along": (in_world(RIGHT._replace(input=3)), {"miscounted"}),
    "a stored number that is too low": ({"stored": ("world-0", STORED._replace(input=2))}, {"miscounted"}),
}


@pytest.mark.parametrize(("found", "faults"), GUILTY.values(), ids=GUILTY)
def test_each_breach_is_blamed(found: dict[str, Any], faults: set[str]) -> None:
    verdict = judged(**found)
    assert set(verdict.faults) == faults
    assert not verdict.passed
    assert verdict.examples


def test_every_fault_is_shown() -> None:
    assert set().union(*(faults for _, faults in GUILTY.values())) == set(FAULTS)


def test_one_item_with_two_players_is_doubled() -> None:
    bobs = State(A, 5, (("ann", 5),))
    judge = Judge(
        {"world-0": {"ann": RIGHT, "bob": bobs}}, {"ann": ("world-0", RIGHT), "bob": ("world-0", bobs)}
    )
    judge.player("ann", STEPS, 6, 2)
    judge.player("bob", [], 0, 0)
    assert judge.verdict.faults["doubled"] == 2


RUNS: dict[str, dict[str, Any]] = {
    "a player that moved too seldom": {"steps": STEPS[:2]},
    "a kind that was not killed": {"kills": {**KILLS, "session": 0}},
    "a kind killed too seldom": {"kills": {**KILLS, "world": 1}},
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_that_proves_nothing_fails_without_a_fault(run: dict[str, Any]) -> None:
    verdict = judged(**run)
    assert not verdict.passed
    assert not +verdict.faults
