from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.rules.entity import Entity
from common.rules.grid import NOWHERE, Grid
from common.rules.interest import Changes, Interest
from tests.common.rules.beholder import Beholder

SIZE, SIDE, MARGIN = 60, 10, 2


def make(*entities: Entity) -> Interest:
    interest = Interest(Grid(SIZE, SIZE, SIDE, MARGIN))
    for entity in entities:
        interest.add(entity)
    return interest


def cell(x: float, y: float) -> int:
    return Grid(SIZE, SIZE, SIDE, MARGIN).cell(x, y)


# one tick


def test_one_who_comes_enters_its_cell_and_is_told_with_all_that_is_shown() -> None:
    interest = make(Entity("tree", 5, 5, {"tall": True}))
    assert interest.gather().enters == {cell(5, 5): [(1, "tree", 5, 5, {"tall": True})]}
    assert interest.gather() == Changes({}, {}, {}, {}, [])


def test_one_who_moves_within_its_cell_is_a_move_however_often() -> None:
    interest = make(one := Entity("ant", 5, 5))
    interest.gather()
    for x in (6, 7, 8):
        interest.move(one, x, 5)
    assert interest.gather() == Changes({cell(5, 5): [(1, 8, 5)]}, {}, {}, {}, [])


def test_one_who_crosses_leaves_the_one_cell_and_enters_the_other_in_the_same_tick() -> None:
    interest = make(one := Entity("ant", 9, 5, "red"))
    interest.gather()
    interest.move(one, 11, 5)
    changes = interest.gather()
    assert changes.leaves == {cell(9, 5): [1]}
    assert changes.enters == {cell(11, 5): [(1, "ant", 11, 5, "red")]}
    assert not changes.moves


def test_one_who_crosses_and_comes_back_within_a_tick_has_only_moved() -> None:
    interest = make(one := Entity("ant", 9, 5))
    interest.gather()
    interest.move(one, 11, 5)
    interest.move(one, 8, 5)
    assert interest.gather() == Changes({cell(8, 5): [(1, 8, 5)]}, {}, {}, {}, [])


def test_one_who_shows_something_else_enters_again_and_its_move_is_in_that() -> None:
    interest = make(one := Entity("ant", 5, 5, "red"))
    interest.gather()
    interest.move(one, 6, 5)
    one.data = "blue"
    interest.show(one)
    assert interest.gather() == Changes({}, {cell(5, 5): [(1, "ant", 6, 5, "blue")]}, {}, {}, [])
    interest.move(one, 7, 5)
    assert interest.gather().moves == {cell(5, 5): [(1, 7, 5)]}


def test_one_who_is_removed_leaves_the_cell_it_is_known_in() -> None:
    interest = make(one := Entity("ant", 9, 5))
    interest.gather()
    interest.move(one, 11, 5)
    interest.remove(one)
    interest.remove(one)
    assert interest.gather() == Changes({}, {}, {cell(9, 5): [1]}, {}, [])
    assert list(interest.near(11, 5, 50)) == []


def test_one_who_comes_and_goes_within_a_tick_was_never_there() -> None:
    interest = make(one := Entity("ant", 9, 5))
    interest.remove(one)
    assert interest.gather() == Changes({}, {}, {}, {}, [])


def test_one_who_comes_again_is_another() -> None:
    interest = make(one := Entity("ant", 9, 5))
    interest.gather()
    interest.remove(one)
    interest.add(one)
    changes = interest.gather()
    assert (changes.leaves, changes.enters) == (
        {cell(9, 5): [1]},
        {cell(9, 5): [(2, "ant", 9, 5, None)]},
    )


def test_one_who_is_moved_before_it_comes_in_comes_in_there() -> None:
    interest, one = make(), Entity("ant", 9, 5)
    interest.move(one, 30, 5)
    assert interest.gather() == Changes({}, {}, {}, {}, [])
    interest.add(one)
    assert interest.gather().enters == {cell(30, 5): [(1, "ant", 30, 5, None)]}


def test_one_cannot_be_put_in_twice() -> None:
    interest = make(one := Entity())
    with pytest.raises(ValueError, match="in a map already"):
        interest.add(one)


def test_an_event_is_told_where_it_happened() -> None:
    interest = make()
    interest.tell(5, 5, "boom")
    interest.tell(5, 6, "bang")
    assert interest.gather().events == {cell(5, 5): ["boom", "bang"]}
    assert interest.gather().cells() == set()


# watching


def test_one_who_begins_to_watch_gets_a_centre_and_knows_nothing() -> None:
    interest = make(one := Entity("ant", 15, 15))
    interest.watch(one)
    assert interest.gather().recentred == [(one, NOWHERE)]
    assert one.centre == cell(15, 15)
    assert interest.gather().recentred == []


def test_a_centre_follows_only_beyond_the_margin() -> None:
    interest = make(one := Entity("ant", 15, 15))
    interest.watch(one)
    interest.gather()
    interest.move(one, 21, 15)
    assert interest.gather().recentred == []
    interest.move(one, 22, 15)
    assert interest.gather().recentred == [(one, cell(15, 15))]
    assert one.centre == cell(22, 15)
    interest.move(one, 19, 15)
    assert interest.gather().recentred == []


def test_one_who_watches_no_more_has_no_centre() -> None:
    interest = make(one := Entity("ant", 15, 15))
    interest.watch(one)
    interest.unwatch(one)
    interest.move(one, 45, 15)
    assert interest.gather().recentred == []
    assert one.centre == NOWHERE


# against brute force

COORDINATE = st.integers(0, SIZE)
STEP = st.one_of(
    st.tuples(st.just("add"), COORDINATE, COORDINATE),
    st.tuples(st.just("move"), st.integers(0, 30), st.integers(-12, 12), st.integers(-12, 12)),
    st.tuples(st.just("jump"), st.integers(0, 30), COORDINATE, COORDINATE),
    st.tuples(st.just("show"), st.integers(0, 30), st.integers(0, 9)),
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.just("watch"), st.integers(0, 30)),
    st.tuples(st.just("unwatch"), st.integers(0, 30)),
    st.tuples(st.just("tick")),
)


class Crowd:
    """A map whose watchers are told as gateways tell clients."""

    def __init__(self) -> None:
        self.interest = make()
        self.there: list[Entity] = []
        self.eyes: dict[Entity, Beholder] = {}
        self.centres: dict[Entity, int] = {}
        self.entered: dict[int, int] = {}

    def step(self, what: str, *rest: int) -> None:
        interest, there = self.interest, self.there
        if what == "add":
            there.append(Entity("ant", *rest))
            interest.add(there[-1])
            return
        if what == "tick":
            self.tick()
            return
        if not there:
            return
        one = there[rest[0] % len(there)]
        if what == "move":
            x, y = (min(max(0, at + by), SIZE) for at, by in zip((one.x, one.y), rest[1:], strict=True))
            interest.move(one, x, y)
        elif what == "jump":
            interest.move(one, rest[1], rest[2])
        elif what == "show":
            one.data = rest[1]
            interest.show(one)
        elif what == "remove":
            interest.remove(one)
            there.remove(one)
            self.forget(one)
        elif what == "watch":
            interest.watch(one)
            self.forget(one)
        else:
            interest.unwatch(one)
            self.forget(one)

    def forget(self, one: Entity) -> None:
        self.eyes.pop(one, None)
        self.centres.pop(one, None)

    def tick(self) -> None:
        changes = self.interest.gather()
        around = self.interest.grid.around
        for one, eyes in self.eyes.items():
            for where in around(self.centres[one]):
                if where in changes.cells():
                    eyes.take(self.delta(changes, where))
        for one, before in changes.recentred:
            assert before in (NOWHERE, self.centres.get(one))
            old = around(before)
            eyes = self.eyes.setdefault(one, Beholder())
            new = around(one.centre)
            for where in set(new) - set(old):
                eyes.take({"cell": where, "full": True, "enter": self.interest.snapshot(where)})
            for where in set(old) - set(new):
                eyes.take({"cell": where, "full": True})
            self.centres[one] = one.centre
        self.check()

    @staticmethod
    def delta(changes: Changes, where: int) -> dict[str, Any]:
        return {
            "cell": where,
            "enter": changes.enters.get(where, []),
            "move": changes.moves.get(where, []),
            "leave": changes.leaves.get(where, []),
        }

    def check(self) -> None:
        for one in self.there:
            assert (one in self.eyes) == one.watching
        for one, eyes in self.eyes.items():
            watched = self.interest.grid.around(one.centre)
            truth = {
                other.id: [other.kind, other.x, other.y, other.data]
                for other in self.there
                if cell(other.x, other.y) in watched
            }
            assert eyes.seen() == truth
            assert eyes.enters == eyes.leaves + len(truth)
            for other in self.there:
                distance = max(abs(other.x - one.x), abs(other.y - one.y))
                assert distance >= SIDE - MARGIN or other.id in truth
                assert distance <= 2 * SIDE + MARGIN or other.id not in truth


@given(st.lists(STEP, max_size=80))
@settings(max_examples=200)
def test_what_a_client_was_told_is_what_is_around_it_after_any_walk(steps: list[tuple[Any, ...]]) -> None:
    crowd = Crowd()
    for step in steps:
        crowd.step(*step)
    crowd.tick()


def test_a_crowd_that_walks_for_long_is_known_to_all_of_it() -> None:
    chance, crowd = random.Random(7), Crowd()
    for _ in range(40):
        crowd.step("add", chance.randint(0, SIZE), chance.randint(0, SIZE))
        crowd.step("watch", len(crowd.there) - 1)
    for _ in range(60):
        for index in range(40):
            crowd.step("move", index, chance.randint(-6, 6), chance.randint(-6, 6))
        crowd.tick()


POINTS = st.lists(st.tuples(COORDINATE, COORDINATE), max_size=20)


@given(POINTS, COORDINATE, COORDINATE, st.integers(0, 90))
def test_near_and_nearest_are_those_a_search_through_all_would_give(
    points: list[tuple[int, int]], x: int, y: int, radius: int
) -> None:
    entities = [Entity("even" if index % 2 else "odd", *point) for index, point in enumerate(points)]
    interest = make(*entities)
    for entity in entities[::3]:
        interest.move(entity, SIZE - entity.x, entity.y)
    within = [e for e in entities if (e.x - x) ** 2 + (e.y - y) ** 2 <= radius**2]
    assert sorted(e.id for e in interest.near(x, y, radius)) == sorted(e.id for e in within)

    def first(among: list[Entity]) -> Entity | None:
        return min(among, key=lambda e: ((e.x - x) ** 2 + (e.y - y) ** 2, e.id), default=None)

    assert interest.nearest(x, y, radius) is first(within)
    assert interest.nearest(x, y, radius, kind="odd") is first([e for e in within if e.kind == "odd"])
    if entities:
        assert interest.nearest(x, y, radius, but=entities[0]) is first(
            [e for e in within if e is not entities[0]]
        )
