from __future__ import annotations

import random
from typing import Any

import pytest

from common.rules.errand import Sending
from common.rules.inputs import Inputs
from common.rules.queue import Queue
from common.wire.codec import unpack
from worlds.arena import (
    BIRTH,
    COOLDOWN,
    DAMAGE,
    FEW,
    HEALTH,
    HEART,
    HEART_GROWS,
    SLIME_BITE,
    SLIME_COMES,
    SLIME_HEALTH,
    Arena,
    Garden,
    Ground,
)
from worlds.space import Entity, Player


class Field(Arena):
    """An arena with nothing in it."""

    hearts = slimes = 0


def ground(kind: type[Ground] = Field) -> Any:
    made = kind(chance=random.Random(1))
    made.on_open()
    return made


def come(here: Any, uid: str = "ann", at: tuple[int, int] = (500, 500), data: Any = None) -> Any:
    player = Player(uid, Inputs(4))
    here.on_enter(player, data)
    player.x, player.y = at
    player.spot = at
    here.players[uid] = player
    here.add(player)
    return player


def act(here: Any, player: Any, what: str, dx: float = 1, dy: float = 0) -> None:
    here.on_input(player, {"do": what, "dx": dx, "dy": dy})


def of_kind(here: Any, kind: str) -> list[Entity]:
    return [one for one in here.interest.entities.values() if one.kind == kind]


def events(here: Any) -> list[Any]:
    return [event for cell in here.interest.gather().events.values() for event in cell]


def told(here: Any) -> list[tuple[Any, Any]]:
    return [(to, unpack(event)) for to, event in here.told]


def pass_time(here: Any, seconds: float) -> None:
    here.time += seconds
    for timer in here.timers.due(here.time):
        timer.fire()


def test_in_an_instance_there_are_no_slimes() -> None:
    duel = Arena("0:1", {"mode": "duel"})
    duel.on_open()
    assert not of_kind(duel, "slime")
    assert of_kind(duel, "heart")


def test_many_players_begin_as_far_apart_as_few() -> None:
    here = ground()
    far = []
    for n in range(8 * FEW):
        come(here, f"u{n}")
        far.append(max(abs(place - 1_200) for place in here.birthplace()))
        assert far[-1] <= BIRTH * max(1, len(here.players) / FEW) ** 0.5
    assert max(far[:FEW]) <= BIRTH < 2 * BIRTH < max(far[4 * FEW :])


def test_no_door_is_where_players_begin() -> None:
    for here in (Arena, Garden):
        middle = here.width / 2, here.height / 2
        assert all(max(abs(x - middle[0]), abs(y - middle[1])) > BIRTH for x, y, _ in here.doors)


def test_doors_hearts_and_slimes_are_there_from_the_beginning() -> None:
    here = ground(Arena)
    counts = {kind: len(of_kind(here, kind)) for kind in ("door", "heart", "slime")}
    assert counts == {"door": 2, "heart": Arena.hearts, "slime": Arena.slimes}


def test_one_who_walks_gets_on_by_parts_of_a_point_though_whole_ones_are_shown() -> None:
    here = ground()
    ann = come(here)
    act(here, ann, "walk", 1, 1)
    for _ in range(10):
        here.on_tick(0.1)
    assert (ann.x, ann.y) == (534, 534), "48 points in a second, at 45 degrees"
    act(here, ann, "walk", 0, 0)
    here.on_tick(0.1)
    assert ann.x == 534


def test_nobody_walks_out_of_the_map() -> None:
    here = ground()
    ann = come(here, at=(1, 2_399))
    act(here, ann, "walk", -1, 1)
    for _ in range(5):
        here.on_tick(0.1)
    assert (ann.x, ann.y) == (0, 2_400)


def test_a_shot_hits_the_first_in_its_way_and_nobody_beside_it_or_behind() -> None:
    here = ground()
    ann = come(here)
    bob, cat = come(here, "bob", (540, 503)), come(here, "cat", (580, 500))
    dan, eve = come(here, "dan", (530, 510)), come(here, "eve", (460, 500))
    act(here, ann, "fire")
    assert [one.hp for one in (ann, bob, cat, dan, eve)] == [HEALTH, HEALTH - DAMAGE, HEALTH, HEALTH, HEALTH]
    assert bob.data == {"name": "bob", "hp": HEALTH - DAMAGE, "score": 0}
    assert events(here) == [
        {"shot": [500, 500, 540, 500], "by": ann.id},
        {"hit": bob.id, "hp": HEALTH - DAMAGE},
    ]


def test_a_shot_that_hits_nobody_ends_somewhere() -> None:
    here = ground()
    ann = come(here)
    come(here, "bob", (500, 600))
    act(here, ann, "fire", 0, 1)
    assert events(here) == [{"shot": [500, 500, 500, 590], "by": ann.id}]


def test_one_shot_follows_another_only_after_a_while() -> None:
    here = ground()
    ann, bob = come(here), come(here, "bob", (540, 500))
    act(here, ann, "fire")
    act(here, ann, "fire")
    assert bob.hp == HEALTH - DAMAGE
    here.time += COOLDOWN
    act(here, ann, "fire")
    assert bob.hp == HEALTH - 2 * DAMAGE


def test_a_shot_in_no_direction_is_none() -> None:
    here = ground()
    ann = come(here)
    act(here, ann, "fire", 0, 0)
    assert events(here) == []


def test_who_falls_stands_up_elsewhere_and_the_other_has_the_points() -> None:
    here = ground()
    ann, bob = come(here), come(here, "bob", (540, 500))
    bob.hp = DAMAGE
    act(here, ann, "fire")
    assert (bob.hp, ann.score, ann.data["score"]) == (HEALTH, 10, 10)
    assert (bob.x, bob.y) != (540, 500)
    assert bob.cell == here.interest.grid.cell(bob.x, bob.y)
    assert {"fell": bob.id, "by": ann.id} in events(here)
    assert here.call(bob, "top", None) == [["ann", 10], ["bob", 0]]


def test_a_slime_that_falls_is_gone_and_another_one_comes() -> None:
    here = ground()
    here.add_slime()
    slime = here.monsters[0]
    here.put(slime, 540, 500)
    ann = come(here)
    for _ in range(SLIME_HEALTH // DAMAGE):
        here.time += COOLDOWN
        act(here, ann, "fire")
    assert (of_kind(here, "slime"), here.monsters, ann.score) == ([], [], 1)
    pass_time(here, SLIME_COMES)
    assert len(here.monsters) == 1


def test_a_slime_comes_near_and_bites() -> None:
    here = ground()
    here.add_slime()
    slime, ann = here.monsters[0], come(here)
    here.put(slime, 520, 500)
    here.think()
    here.on_tick(0.5)
    assert (slime.x, slime.y) == (509, 500)
    here.think()
    assert ann.hp == HEALTH - SLIME_BITE
    assert slime.heading == (0.0, 0.0)


def test_who_falls_by_a_slime_gives_nobody_points() -> None:
    here = ground()
    here.add_slime()
    ann = come(here)
    ann.hp = 1
    here.hurt(ann, SLIME_BITE, here.monsters[0])
    assert ann.hp == HEALTH
    assert {"fell": ann.id, "by": 0} in events(here)


def test_a_heart_heals_who_needs_it_and_grows_again() -> None:
    here = ground()
    here.add(Entity("heart", 504, 500))
    ann = come(here)
    act(here, ann, "walk")
    here.on_tick(0.01)
    assert len(of_kind(here, "heart")) == 1, "one in good health leaves it"
    ann.hp = HEALTH - HEART - 5
    here.on_tick(0.01)
    assert (ann.hp, ann.data["hp"], of_kind(here, "heart")) == (HEALTH - 5, HEALTH - 5, [])
    pass_time(here, HEART_GROWS)
    assert len(of_kind(here, "heart")) == 1


def test_who_steps_into_a_door_is_sent_where_it_leads_once() -> None:
    here = ground()
    x, y, to = here.doors[0]
    ann = come(here, at=(x - 15, y))
    act(here, ann, "walk")
    for _ in range(4):
        here.on_tick(0.1)
    assert here.errands == [Sending(ann, to, {"through": "arena"})]


def test_who_comes_through_a_door_stands_in_it_and_is_not_sent_back() -> None:
    garden = ground(Garden)
    ann = Player("ann", Inputs(4))
    garden.on_enter(ann, {"through": "arena", "name": "Ann"})
    assert (ann.x, ann.y) == Garden.doors[0][:2]
    garden.players["ann"] = ann
    garden.add(ann)
    act(garden, ann, "walk", 0, 1)
    garden.on_tick(0.1)
    assert garden.errands == []


def test_nobody_is_hurt_in_the_garden() -> None:
    here = ground(Garden)
    ann, bob = come(here, at=(100, 100)), come(here, "bob", (120, 100))
    act(here, ann, "fire")
    assert (bob.hp, events(here)) == (HEALTH, [])


def test_one_who_comes_again_goes_on_where_it_was_with_what_it_had() -> None:
    here = ground()
    ann = come(here, at=(70, 80), data={"name": "Ann"})
    ann.hp, ann.score = 40, 30
    saved = here.on_save(ann)
    again, elsewhere = Player("ann", Inputs(4)), Player("ann", Inputs(4))
    here.on_load(again, saved)
    here.on_enter(again, None)
    assert (again.x, again.y, again.data) == (70, 80, {"name": "Ann", "hp": 40, "score": 30})
    garden = ground(Garden)
    garden.on_load(elsewhere, saved)
    garden.on_enter(elsewhere, {"through": "arena"})
    assert (elsewhere.x, elsewhere.y, elsewhere.hp, elsewhere.score) == (300, 120, 40, 30)


def test_a_duel_begins_with_all_health_and_near_the_other() -> None:
    here, duel = ground(), Arena("0:1", {"mode": "duel"}, random.Random(1))
    ann = come(here, at=(70, 80))
    ann.hp, ann.score = 40, 30
    again = Player("ann", Inputs(4))
    duel.on_load(again, here.on_save(ann))
    duel.on_enter(again, None)
    assert (again.hp, again.score) == (HEALTH, 30)
    assert max(abs(again.x - 1_200), abs(again.y - 1_200)) <= BIRTH


ODD: dict[str, Any] = {"nothing": None, "no map": "Ann", "no name": {"name": 7}, "no door": {"through": [1]}}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_whatever_comes_with_enter_one_gets_in(data: Any) -> None:
    here = ground()
    ann = come(here, data=data)
    assert ann.data["hp"] == HEALTH


def test_all_are_told_where_the_best_are() -> None:
    here = ground()
    here.show_blips()
    assert told(here) == []
    come(here)
    here.show_blips()
    assert told(here) == [(None, {"blips": [[500, 500]]})]


def test_what_can_be_played_for_can_be_played() -> None:
    assert {name: Queue(mode).mode.players for name, mode in Arena.modes.items()} == {"duel": 2}
