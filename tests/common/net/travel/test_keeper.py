from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import Conflict, Unavailable
from common.net.store import Store
from common.net.travel.entrance import ENTER_SECONDS
from common.net.travel.keeper import MOVE_SECONDS
from common.rules.stay import DOUBT, IN, LEAVING, LINKDEAD
from tests.common.net.travel.scene import AWAY, LATE, LOST, SAVE_EVERY, Cluster, World

ANN, BOB = "p/ann", "p/bob"


@pytest.fixture
def cluster(store: Store) -> Cluster:
    """Two worlds on an empty Redis."""
    return Cluster(store, "world-0", "world-1")


@pytest.fixture
def world(cluster: Cluster) -> World:
    return cluster.worlds["world-0"]


def entered(cluster: Cluster, world: World, user: str = ANN) -> None:
    """Have a player come in, with one input stored."""
    world.enter(user)
    cluster.settle()
    world.input(user, 1)
    told = world.save(user)
    cluster.settle()
    assert told == [True]


def test_a_new_player_comes_in_with_no_state_and_is_owned(cluster: Cluster, world: World) -> None:
    world.enter(ANN)
    cluster.settle()
    assert world.states == {ANN: []}
    stay, record = world.stay(ANN), cluster.record(ANN)
    assert stay is not None and stay.state == IN
    assert record[:4] == (world.owner(), "p/a/0.1", 1, 0)


def test_who_left_comes_back_with_its_state_and_the_number_of_its_last_input(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.input(ANN, 7)
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.settle()
    assert world.left == [(ANN, "left")]
    assert cluster.record(ANN).owner == ""
    other = cluster.worlds["world-1"]
    other.enter(ANN)
    cluster.settle()
    assert other.states == {ANN: [1, 7]}
    assert not other.input(ANN, 7) and other.input(ANN, 8)


def test_a_player_of_a_living_world_is_refused_elsewhere_and_the_answer_says_where_it_is(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    other = cluster.worlds["world-1"]
    other.enter(ANN, "p/b/0.1")
    cluster.settle()
    refusal = other.refused[ANN]
    assert isinstance(refusal, Conflict)
    assert refusal.facts == {"owner": world.owner(), "place": "p/a/0.1"}
    assert cluster.holders(ANN) == ["world-0"]


def test_a_world_that_comes_up_again_has_its_players_back_as_they_were_saved(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    again = cluster.restart("world-0")
    again.enter(ANN)
    cluster.settle()
    assert again.states == {ANN: [1]}
    assert cluster.record(ANN)[:3] == (again.owner(), "p/a/0.1", 2)


def test_a_player_is_taken_over_from_a_world_that_is_gone_but_not_before(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    other = cluster.worlds["world-1"]
    cluster.freeze("world-0")
    cluster.now += 11.0
    other.enter(ANN)
    cluster.settle(0.01)
    assert isinstance(other.refused[ANN], Conflict)
    cluster.now += 1.0
    other.enter(ANN)
    cluster.settle(0.01)
    assert other.states == {ANN: [1]}


def test_a_zombie_cannot_overwrite_what_its_successor_saved_and_drops_the_player(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    other = cluster.worlds["world-1"]
    cluster.freeze("world-0")
    cluster.now += 20.0
    other.enter(ANN)
    cluster.settle(0.01)
    other.input(ANN, 3)
    assert other.save(ANN) == []
    cluster.settle(0.01)
    cluster.thaw("world-0")
    stay = world.stay(ANN)
    assert stay is not None and stay.state == DOUBT
    assert not world.input(ANN, 4)
    cluster.settle(0.01)
    assert world.left == [(ANN, "lost")]
    assert cluster.stored(ANN) == [1, 3]


def test_a_world_that_was_frozen_goes_on_with_a_player_nobody_took(cluster: Cluster, world: World) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    cluster.freeze("world-0")
    cluster.now += 20.0
    cluster.thaw("world-0")
    cluster.settle()
    assert world.states == {ANN: [1, 2]}
    assert cluster.record(ANN).owner == world.owner()
    assert world.input(ANN, 3)


def test_a_save_of_a_frozen_world_that_arrives_after_it_was_taken_over_is_refused(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    cluster.storage.next.append(LATE)
    world.save(ANN)
    cluster.turn()
    cluster.freeze("world-0")
    cluster.now += 20.0
    cluster.worlds["world-1"].enter(ANN)
    cluster.settle(0.01)
    cluster.storage.carry_out_late()
    assert cluster.stored(ANN) == [1]


@pytest.mark.parametrize("fault", [LOST, LATE, AWAY])
def test_an_enter_whose_claim_has_no_answer_is_tried_again_and_claims_once(
    cluster: Cluster, world: World, fault: str
) -> None:
    cluster.storage.next.extend(["ok", fault])
    world.enter(ANN)
    cluster.settle()
    cluster.storage.carry_out_late()
    assert cluster.holders(ANN) == ["world-0"]
    assert cluster.record(ANN).route_ver == 1


def test_an_enter_is_refused_in_time_while_storage_is_away(cluster: Cluster, world: World) -> None:
    cluster.storage.always = AWAY
    world.enter(ANN)
    began = cluster.now
    while ANN not in world.refused:
        cluster.turn(1, 0.1)
    assert isinstance(world.refused[ANN], Unavailable)
    assert cluster.now - began < ENTER_SECONDS + 9.0


def test_a_claim_that_is_carried_out_after_its_enter_was_given_up_leaves_a_player_that_can_enter(
    cluster: Cluster, world: World
) -> None:
    cluster.storage.next.append("ok")
    cluster.storage.always = LATE
    world.enter(ANN)
    while ANN not in world.refused:
        cluster.turn(1, 0.1)
    cluster.storage.always = "ok"
    cluster.storage.carry_out_late()
    assert cluster.record(ANN).owner == world.owner()
    world.enter(ANN)
    cluster.settle()
    assert cluster.holders(ANN) == ["world-0"]


def test_a_state_saved_between_look_up_and_claim_is_not_lost(
    cluster: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    cluster.storage.next.append(LATE)
    world.save(ANN)
    cluster.turn()
    again = cluster.restart("world-0")
    looked_up: Callable[..., Any] = again.keeper._entrance._found

    def found(*args: Any) -> None:
        looked_up(*args)
        cluster.storage.carry_out_late()

    monkeypatch.setattr(again.keeper._entrance, "_found", found)
    again.enter(ANN)
    cluster.settle()
    assert again.states == {ANN: [1, 2]}
    assert not again.input(ANN, 2)


def test_players_are_saved_once_in_each_period_and_not_when_nothing_changed(
    cluster: Cluster, world: World
) -> None:
    for user in (ANN, BOB):
        entered(cluster, world, user)
    world.input(ANN, 2)
    before = cluster.record(BOB).save_ver
    cluster.turn(70, SAVE_EVERY / 60)
    assert cluster.stored(ANN) == [1, 2]
    assert cluster.record(BOB).save_ver == before


def test_saves_wait_while_storage_is_away_and_the_newest_state_is_stored_then(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    cluster.storage.always = AWAY
    told = world.save(ANN)
    for number in range(2, 30):
        assert world.input(ANN, number)
        cluster.turn(1, 2.0)
    assert told == [False]
    cluster.storage.always = "ok"
    cluster.turn(20, 1.0)
    assert cluster.stored(ANN) == list(range(1, 30))


def test_a_save_that_was_not_stored_is_not_acknowledged(cluster: Cluster, world: World) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    cluster.storage.next.append(LATE)
    told = world.save(ANN)
    cluster.turn()
    assert told == [False]


def test_who_is_linkdead_for_thirty_seconds_leaves_and_who_is_back_stays(
    cluster: Cluster, world: World
) -> None:
    for user in (ANN, BOB):
        entered(cluster, world, user)
        world.keeper.stays[user].lost(cluster.now)
    ann = world.keeper.stays[ANN]
    assert ann.state == LINKDEAD
    cluster.turn(28, 1.0)
    world.enter(BOB)
    cluster.turn(3, 1.0)
    assert world.left == [(ANN, "left")]
    assert world.keeper.stays[BOB].state == IN
    assert cluster.stored(ANN) == [1]


def test_leaving_waits_for_storage_and_nothing_is_lost(cluster: Cluster, world: World) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    cluster.storage.always = AWAY
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.turn(200, 1.0)
    assert world.keeper.stays[ANN].state == LEAVING
    cluster.storage.always = "ok"
    cluster.settle()
    assert cluster.stored(ANN) == [1, 2]
    assert cluster.record(ANN).owner == ""


@pytest.mark.parametrize("fault", ["nothing sent", AWAY, LOST, LATE])
def test_who_enters_while_leaving_is_back_with_its_state(cluster: Cluster, world: World, fault: str) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    world.keeper.leave(world.keeper.stays[ANN])
    if fault != "nothing sent":
        cluster.storage.next.append(fault)
        cluster.turn()
    world.enter(ANN)
    cluster.settle()
    cluster.storage.carry_out_late()
    cluster.settle()
    assert world.states == {ANN: [1, 2]}
    assert cluster.holders(ANN) == ["world-0"]
    assert cluster.record(ANN).owner == world.owner()
    assert world.input(ANN, 3)
    told = world.save(ANN)
    cluster.settle()
    assert told == [True]


def test_of_two_enters_the_first_is_refused(cluster: Cluster, world: World) -> None:
    world.enter(ANN)
    world.keeper.enter(ANN, "p/a/0.2", world.came, lambda error: None)
    assert isinstance(world.refused[ANN], Conflict)
    cluster.settle()
    assert cluster.record(ANN).place == "p/a/0.2"


def test_an_enter_into_another_line_while_the_claim_is_under_way_ends_in_that_line(
    cluster: Cluster, world: World
) -> None:
    cluster.storage.next.extend(["ok", LOST])
    world.enter(ANN)
    cluster.turn()
    world.enter(ANN, "p/a/0.2")
    cluster.settle()
    stay = world.stay(ANN)
    assert stay is not None and stay.place == cluster.record(ANN).place == "p/a/0.2"


def test_a_state_that_cannot_be_taken_leaves_the_last_one_and_lets_the_player_go(
    cluster: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(cluster, world)
    monkeypatch.setattr(world, "snapshot", lambda stay: b"x" * 65_537)
    told = world.save(ANN)
    cluster.settle()
    assert told == [False]
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.settle()
    assert cluster.stored(ANN) == [1]
    assert cluster.record(ANN).owner == ""


def test_a_thousand_players_enter_in_few_calls(cluster: Cluster, world: World) -> None:
    for number in range(1_000):
        world.enter(f"p/u{number}")
    cluster.settle(0.0)
    assert len(world.states) == 1_000
    assert len(cluster.storage.calls) < 60


def test_time_for_giving_up_a_move_is_shorter_than_that_for_an_enter() -> None:
    assert MOVE_SECONDS < ENTER_SECONDS


def test_a_wanted_save_is_confirmed_by_the_change_that_took_the_state_along(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    told = world.save(ANN)
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.settle()
    assert told == [True]
    assert cluster.stored(ANN) == [1, 2]


def test_a_wanted_save_of_a_state_that_cannot_be_taken_is_not_confirmed_by_leaving(
    cluster: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered(cluster, world)
    world.input(ANN, 2)
    monkeypatch.setattr(world, "snapshot", lambda stay: None)
    told = world.save(ANN)
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.settle()
    assert told == [False]


def test_closing_lets_everybody_go_and_names_who_could_not_be_stored(cluster: Cluster, world: World) -> None:
    for user in (ANN, BOB):
        entered(cluster, world, user)
    closing = gevent.spawn(world.keeper.close, 60.0)
    while not closing.ready():
        cluster.turn(1, 1.0)
        gevent.sleep(0.02)
    assert closing.value == []
    assert cluster.record(ANN).owner == cluster.record(BOB).owner == ""
    entered(cluster, world)
    cluster.storage.always = AWAY
    closing = gevent.spawn(world.keeper.close, 5.0)
    while not closing.ready():
        cluster.turn(1, 1.0)
        gevent.sleep(0.02)
    assert closing.value == [ANN]


def test_who_enters_twice_while_a_leave_is_in_doubt_is_not_back_before_storage_said_so(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    cluster.storage.next.extend([LOST, *[AWAY] * 8])
    world.keeper.leave(world.keeper.stays[ANN])
    cluster.turn()
    for _ in range(6):
        world.enter(ANN)
        cluster.turn(1, 0.3)
        assert cluster.holders(ANN) == []
    assert cluster.record(ANN).owner == ""
    cluster.storage.next.clear()
    world.enter(ANN)
    cluster.settle()
    assert cluster.holders(ANN) == ["world-0"]
    assert cluster.record(ANN).owner == world.owner()


def test_a_fenced_world_that_asks_for_its_players_with_a_lost_answer_still_has_them(
    cluster: Cluster, world: World
) -> None:
    entered(cluster, world)
    world.keeper.fenced()
    cluster.storage.next.append(LOST)
    cluster.turn()
    world.keeper.give_up(world.keeper.stays[ANN])
    world.term += 1
    world.keeper.fenced()
    cluster.settle()
    assert cluster.holders(ANN) == ["world-0"]
    assert cluster.record(ANN).owner == world.owner()


@pytest.mark.parametrize("begun", [0, 1])
def test_many_who_wait_for_a_storage_that_is_away_cost_no_turns(
    cluster: Cluster, world: World, begun: int
) -> None:
    """Begun: their look-up went well, so their claims wait."""
    cluster.storage.next.extend(["ok"] * begun)
    cluster.storage.always = AWAY
    for number in range(64):
        world.enter(f"p/u{number}")
    cluster.turn(3, 0.3)
    world.keeper._wake.clear()
    world.keeper.step()
    assert not world.keeper._wake.is_set()


def test_many_who_come_back_while_they_are_being_stored_cost_no_turns(cluster: Cluster, world: World) -> None:
    users = [f"p/u{number}" for number in range(64)]
    for user in users:
        world.enter(user)
    cluster.settle()
    cluster.storage.next.append(LATE)
    cluster.storage.always = AWAY
    for user in users:
        world.keeper.leave(world.keeper.stays[user])
    cluster.turn()
    for user in users:
        world.enter(user)
    cluster.turn(3)
    world.keeper._wake.clear()
    world.keeper.step()
    assert not world.keeper._wake.is_set()
