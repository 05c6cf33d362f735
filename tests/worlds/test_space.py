from __future__ import annotations

import random
from typing import Any

import pytest

from common.rules.grid import NOWHERE
from common.rules.inputs import Inputs
from common.wire.codec import unpack
from worlds.space import Entity, Player, Space


class Plain(Space):
    width, height, view = 100, 80, 10


def player(uid: str = "ann") -> Player:
    return Player(uid, Inputs(4))


def test_what_is_added_or_moved_outside_is_put_at_the_nearest_point_inside() -> None:
    space = Plain()
    one = space.add(Entity("ant", -5, 90))
    assert (one.x, one.y) == (0, 80)
    space.move(one, 101.5, 40)
    assert (one.x, one.y) == (100, 40)
    space.move(one, float("nan"), 40)
    assert (one.x, one.y) == (0, 40)


def test_near_gives_those_of_a_kind_where_they_are_now() -> None:
    space = Plain()
    ant, bee = space.add(Entity("ant", 5, 5)), space.add(Entity("bee", 6, 5))
    space.add(Entity("ant", 50, 5))
    assert set(space.near(5, 5, 10)) == {ant, bee}
    assert space.near(5, 5, 10, kind="bee") == [bee]
    space.move(ant, 70, 70)
    assert space.near(70, 71, 3) == [ant]
    assert space.nearest(5, 5, 10) is bee
    assert space.nearest(5, 5, 10, but=bee) is None


def test_what_no_client_could_be_told_is_refused_where_it_is_said() -> None:
    space, one = Plain(), Entity("ant")
    space.add(one)
    with pytest.raises(TypeError):
        space.add(Entity("ant", data={1, 2}))
    with pytest.raises(TypeError):
        space.show(one, object())
    with pytest.raises(TypeError):
        space.tell_near(1, 1, object())
    with pytest.raises(TypeError):
        space.tell_all(object())
    assert one.data is None
    assert space.interest.gather().events == {}
    assert space.told == []


def test_what_is_told_to_all_or_to_one_waits_for_the_tick() -> None:
    space, ann = Plain(), player()
    space.tell_all({"bell": 1})
    space.tell(ann, "psst")
    assert [(to, unpack(event)) for to, event in space.told] == [(None, {"bell": 1}), (ann, "psst")]


def test_shown_data_is_what_watchers_are_told_next() -> None:
    space = Plain()
    one = space.add(Entity("ant", 5, 5, "red"))
    space.interest.gather()
    space.show(one, "blue")
    assert list(space.interest.gather().enters.values()) == [[(1, "ant", 5, 5, "blue")]]


def test_an_entity_is_removed_and_a_player_is_not() -> None:
    space, ann = Plain(), player()
    one = space.add(Entity("ant"))
    space.remove(one)
    assert one.cell == NOWHERE
    space.add(ann)
    space.players["ann"] = ann
    with pytest.raises(ValueError, match="leaves by itself"):
        space.remove(ann)


def test_timers_go_by_the_maps_clock() -> None:
    space = Plain()
    done: list[Any] = []
    space.time = 7.0
    space.after(1.0, done.append, "once")
    beat = space.every(0.5, done.append, "beat")
    for space.time in (7.5, 8.0, 8.5):
        for timer in space.timers.due(space.time):
            timer.fire()
    assert done == ["beat", "once", "beat", "beat"]
    beat.cancel()
    assert list(space.timers.due(99.0)) == []
    with pytest.raises(ValueError, match="every 0"):
        space.every(0, print)


def test_chance_can_be_given() -> None:
    first, second = (Plain(chance=random.Random(5)).chance.random() for _ in range(2))
    assert first == second
