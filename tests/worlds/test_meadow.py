from __future__ import annotations

import random
from typing import Any

from common.rules.inputs import Inputs
from common.wire.codec import unpack
from worlds.meadow import FLOWERS, GROWS_AFTER, Meadow
from worlds.space import Entity, Player


def meadow() -> Meadow:
    made = Meadow(chance=random.Random(1))
    made.on_open()
    return made


def come(meadow: Meadow, uid: str = "ann", x: int = 500, y: int = 500, data: Any = None) -> Player:
    player = Player(uid, Inputs(4), x, y)
    meadow.on_enter(player, data)
    meadow.players[uid] = player
    meadow.add(player)
    return player


def flowers(meadow: Meadow) -> list[Entity]:
    return [one for one in meadow.interest.entities.values() if one.kind == "flower"]


def test_flowers_are_there_from_the_beginning() -> None:
    assert len(flowers(meadow())) == FLOWERS


def test_one_who_walks_gets_on_at_one_speed_in_any_direction_until_it_stops() -> None:
    here = meadow()
    ann, bob = come(here), come(here, "bob")
    here.on_input(ann, {"do": "walk", "dx": 1, "dy": 0})
    here.on_input(bob, {"do": "walk", "dx": -1, "dy": 1})
    here.on_tick(0.2)
    assert (ann.x, ann.y, bob.x, bob.y) == (510, 500, 493, 507)
    here.on_input(ann, {"do": "walk", "dx": 0, "dy": 0})
    here.on_tick(0.2)
    assert ann.x == 510


def test_who_stands_at_a_flower_picks_it_all_near_hear_it_and_another_one_grows_later() -> None:
    here = meadow()
    flower = flowers(here)[0]
    ann = come(here, x=int(flower.x), y=int(flower.y))
    here.on_input(ann, {"do": "pick"})
    assert (ann.picked, len(flowers(here))) == (1, FLOWERS - 1)
    (events,) = here.interest.gather().events.values()
    assert events == [{"picked": flower.data, "by": ann.id}]
    for timer in here.timers.due(GROWS_AFTER):
        timer.fire()
    assert len(flowers(here)) == FLOWERS


def test_who_stands_at_none_is_told_so() -> None:
    here = Meadow()
    ann = come(here)
    here.on_input(ann, {"do": "pick"})
    assert [(to, unpack(event)) for to, event in here.told] == [(ann, {"missed": True})]


def test_the_score_names_the_best() -> None:
    here = meadow()
    come(here).picked = 1
    come(here, "bob").picked = 3
    assert here.call(here.players["ann"], "score", None) == [["bob", 3], ["ann", 1]]


def test_one_who_comes_again_has_what_it_had_where_it_was() -> None:
    here = meadow()
    ann = come(here, x=70, y=80)
    ann.picked = 4
    again = Player("ann", Inputs(4))
    here.on_load(again, here.on_save(ann))
    told = here.on_enter(again, "Ann")
    assert (again.x, again.y, again.data, told["picked"]) == (70, 80, {"name": "Ann"}, 4)
