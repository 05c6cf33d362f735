from __future__ import annotations

import pytest

from common.errors import Conflict, DeadlineExceeded, Unavailable
from common.net.store import Store
from common.net.travel.moving import EXPECT_SECONDS, MOVES
from common.rules.stay import IN, MOVING
from tests.common.net.travel.scene import (
    AWAY,
    DIES_AFTER,
    DIES_BEFORE,
    LATE,
    LOST,
    STOPS_AFTER,
    STOPS_BEFORE,
    Cluster,
    World,
)

ANN = "p/ann"


@pytest.fixture
def cluster(store: Store) -> Cluster:
    """Two worlds on an empty Redis; ann is in the first, with inputs 1 (stored) and 2."""
    cluster = Cluster(store, "world-0", "world-1")
    world = cluster.worlds["world-0"]
    world.enter(ANN)
    cluster.settle()
    world.input(ANN, 1)
    world.save(ANN)
    cluster.settle()
    world.input(ANN, 2)
    return cluster


@pytest.fixture
def here(cluster: Cluster) -> World:
    return cluster.worlds["world-0"]


@pytest.fixture
def there(cluster: Cluster) -> World:
    return cluster.worlds["world-1"]


def test_the_table_has_the_calls_worlds_make() -> None:
    assert set(MOVES) == {"expect", "arrive"}


def test_a_move_takes_state_and_input_number_along_and_tells_the_facts(
    cluster: Cluster, here: World, there: World
) -> None:
    move = here.move(ANN, "world-1", "p/b/1.1", {"door": "west"})
    cluster.settle()
    assert move.value is None
    assert here.left == [(ANN, "moved")]
    assert there.states == {ANN: [1, 2]}
    assert there.arrivals == [(ANN, {"door": "west"})]
    assert not there.input(ANN, 2) and there.input(ANN, 3)
    record = cluster.record(ANN)
    assert (record.owner, record.place) == (there.owner(), "p/b/1.1")


def test_while_it_moves_a_player_is_frozen_and_no_input_counts(cluster: Cluster, here: World) -> None:
    cluster.network.next.append(STOPS_BEFORE)
    here.move(ANN, "world-1")
    cluster.turn()
    cluster.thaw("world-0")
    stay = here.stay(ANN)
    assert stay is not None and stay.state == MOVING
    assert not here.input(ANN, 3)


def test_a_full_map_refuses_and_the_player_goes_on_at_once(
    cluster: Cluster, here: World, there: World
) -> None:
    there.full = True
    move = here.move(ANN, "world-1")
    cluster.turn()
    assert isinstance(move.value, Conflict)
    assert cluster.holders(ANN) == ["world-0"]
    assert here.input(ANN, 3)
    assert cluster.record(ANN).route_ver == 1


def test_a_move_begun_while_storage_is_away_is_given_up_and_the_player_goes_on_without_storage(
    cluster: Cluster, here: World
) -> None:
    cluster.storage.always = AWAY
    move = here.move(ANN, "world-1")
    cluster.turn(12, 1.0)
    assert isinstance(move.value, Unavailable)
    stay = here.stay(ANN)
    assert stay is not None and stay.state == IN
    assert here.input(ANN, 3)


def test_in_doubt_a_player_stays_frozen_until_storage_says_that_it_did_not_move(
    cluster: Cluster, here: World, there: World
) -> None:
    cluster.storage.next.append(LATE)
    cluster.storage.always = AWAY
    move = here.move(ANN, "world-1")
    cluster.turn(30, 1.0)
    assert cluster.holders(ANN) == []
    assert not move.ready()
    cluster.storage.always = "ok"
    cluster.settle()
    assert isinstance(move.value, Unavailable)
    assert here.input(ANN, 3)
    cluster.storage.carry_out_late()
    cluster.settle()
    assert cluster.record(ANN).owner == here.owner()
    assert cluster.holders(ANN) == ["world-0"]


def test_in_doubt_a_player_that_did_move_is_let_go_and_arrives(
    cluster: Cluster, here: World, there: World
) -> None:
    cluster.storage.next.append(LOST)
    cluster.storage.always = AWAY
    here.move(ANN, "world-1")
    cluster.turn(30, 1.0)
    assert cluster.holders(ANN) == []
    cluster.storage.always = "ok"
    cluster.settle()
    assert here.left == [(ANN, "moved")]
    assert there.states == {ANN: [1, 2]}


@pytest.mark.parametrize("fault", [LOST, LATE, AWAY])
@pytest.mark.parametrize("at", range(4))
def test_whatever_call_fails_a_player_is_in_one_map_with_all_inputs(
    cluster: Cluster, here: World, there: World, fault: str, at: int
) -> None:
    """Calls of a move to storage: commit, look-up, claim; the fourth fails in the saves behind it."""
    cluster.storage.next.extend(["ok"] * at + [fault])
    here.move(ANN, "world-1")
    cluster.settle()
    cluster.storage.carry_out_late()
    cluster.settle()
    (holder,) = cluster.holders(ANN)
    assert cluster.worlds[holder].states[ANN] == [1, 2]


@pytest.mark.parametrize("fault", [LOST, LATE, AWAY])
@pytest.mark.parametrize("at", range(2))
def test_whatever_call_between_the_worlds_fails_a_player_is_in_one_map_with_all_inputs(
    cluster: Cluster, here: World, there: World, fault: str, at: int
) -> None:
    cluster.network.next.extend(["ok"] * at + [fault] * 3)
    here.move(ANN, "world-1")
    cluster.settle()
    cluster.network.carry_out_late()
    cluster.settle()
    (holder,) = cluster.holders(ANN)
    assert cluster.worlds[holder].states[ANN] == [1, 2]


@pytest.mark.parametrize("fault", [DIES_BEFORE, DIES_AFTER])
@pytest.mark.parametrize("kind", ["storage", "network"])
@pytest.mark.parametrize("at", range(3))
def test_a_world_dies_at_any_call_and_the_player_is_in_one_map_at_least_as_saved(
    cluster: Cluster, fault: str, kind: str, at: int
) -> None:
    getattr(cluster, kind).next.extend(["ok"] * at + [fault])
    cluster.worlds["world-0"].move(ANN, "world-1")
    cluster.settle()
    for name in cluster.names:
        if not cluster.worlds[name].alive:
            cluster.start(name)
    cluster.settle()
    stored = cluster.stored(ANN)
    assert stored in ([1], [1, 2])
    if not cluster.holders(ANN):
        cluster.worlds["world-0"].enter(ANN)
        cluster.settle()
    if not cluster.holders(ANN):
        assert isinstance(cluster.worlds["world-0"].refused[ANN], Conflict)
        cluster.worlds["world-1"].enter(ANN)
        cluster.settle()
    (holder,) = cluster.holders(ANN)
    assert cluster.worlds[holder].states[ANN] == stored


def test_a_world_that_dies_after_the_commit_is_not_needed_any_more(
    cluster: Cluster, here: World, there: World
) -> None:
    cluster.storage.next.append(DIES_AFTER)
    here.move(ANN, "world-1", facts="door")
    cluster.turn()
    assert cluster.holders(ANN) == []
    cluster.turn(3, EXPECT_SECONDS / 2)
    assert there.states == {ANN: [1, 2]}
    assert there.arrivals == [(ANN, "door")]


def test_the_next_life_of_the_target_takes_who_was_moved_to_the_last(cluster: Cluster, here: World) -> None:
    cluster.network.next.extend(["ok", STOPS_BEFORE])
    here.move(ANN, "world-1")
    cluster.turn(2)
    again = cluster.restart("world-1")
    cluster.thaw("world-0")
    cluster.settle()
    assert again.states == {ANN: [1, 2]}


def test_a_world_frozen_before_its_commit_is_fenced_and_asks_storage_first(
    cluster: Cluster, here: World, there: World
) -> None:
    cluster.storage.next.append(STOPS_BEFORE)
    here.move(ANN, "world-1")
    cluster.turn()
    cluster.now += 20.0
    there.enter(ANN)
    cluster.settle(0.01)
    assert there.states == {ANN: [1]}
    there.input(ANN, 3)
    cluster.thaw("world-0")
    cluster.settle(0.01)
    assert here.left == [(ANN, "lost")]
    assert cluster.holders(ANN) == ["world-1"]
    assert there.states == {ANN: [1, 3]}


def test_a_world_frozen_after_its_commit_lets_go(cluster: Cluster, here: World, there: World) -> None:
    cluster.storage.next.append(STOPS_AFTER)
    here.move(ANN, "world-1")
    cluster.turn()
    cluster.turn(4, EXPECT_SECONDS / 2)
    assert there.states == {ANN: [1, 2]}
    cluster.thaw("world-0")
    cluster.settle(0.01)
    assert cluster.holders(ANN) == ["world-1"]


def test_an_arrival_told_twice_is_one(cluster: Cluster, here: World, there: World) -> None:
    cluster.network.next.extend(["ok", LOST])
    here.move(ANN, "world-1")
    cluster.settle()
    there.input(ANN, 3)
    there.mover.arrive(ANN, "p/b/0.1", "again", None)
    cluster.settle()
    assert there.states == {ANN: [1, 2, 3]}
    assert len(there.arrivals) == 1


def test_an_arrival_told_after_the_player_went_on_changes_nothing(
    cluster: Cluster, here: World, there: World
) -> None:
    here.move(ANN, "world-1")
    cluster.settle()
    there.move(ANN, "world-0", "p/a/0.1")
    cluster.settle()
    there.mover.arrive(ANN, "p/b/0.1", "late", None)
    cluster.settle()
    assert cluster.holders(ANN) == ["world-0"]


def test_a_copy_the_target_still_had_gives_way_to_the_player_that_comes(
    cluster: Cluster, here: World, there: World
) -> None:
    """world-0 was cut off when world-1 took the player over, and has not noticed yet."""
    cluster.directory = lambda: {"world-0": [f"{here.life:016x}-aa", 1, "gone", 13_000]}  # type: ignore[method-assign]
    there.enter(ANN)
    cluster.settle(0.01)
    del cluster.directory
    there.input(ANN, 3)
    there.move(ANN, "world-0", "p/a/0.1")
    cluster.settle(0.01)
    assert here.left == [(ANN, "lost")]
    assert here.states == {ANN: [1, 3]}
    assert cluster.holders(ANN) == ["world-0"]


def test_twenty_moves_there_and_back_lose_no_input(cluster: Cluster, here: World, there: World) -> None:
    at, other = here, there
    for number in range(3, 23):
        assert at.input(ANN, number)
        at.move(ANN, other.name, f"p/x/{number}.1")
        cluster.settle()
        at, other = other, at
    assert at.states == {ANN: list(range(1, 23))}


def test_an_error_of_the_call_is_given_to_who_moves(cluster: Cluster, here: World) -> None:
    cluster.network.next.append(LATE)
    move = here.move(ANN, "world-1")
    cluster.turn()
    assert isinstance(move.value, DeadlineExceeded)
    assert cluster.holders(ANN) == ["world-0"]
