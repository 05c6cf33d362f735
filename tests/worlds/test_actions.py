from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, ConfigError, NotFound
from worlds.actions import Field, action, method
from worlds.rooms import Rooms, Visitor
from worlds.space import Player, Space


class Dice(Rooms):
    @method("roll", Field("sides", "int", low=2, high=100), Field("times", "int", False, 1, low=1, high=9))
    def roll(self, visitor: Visitor, sides: int, times: int) -> list[int]:
        visitor.publish({"rolled": sides})
        return [sides] * times


class Court(Space):
    @action("jump", Field("height", "number", low=0, high=2))
    def jump(self, player: Player, height: float) -> None:
        player.height = height

    @method("jump")
    def asked(self, player: Player) -> str:
        return "jumped"


def visitor(said: list[Any]) -> Visitor:
    return Visitor("ann", "demo/plaza/lobby", 3, said.append)


def test_a_method_gets_its_checked_fields_with_their_defaults() -> None:
    said: list[Any] = []
    assert Dice().call(visitor(said), "roll", {"sides": 6, "other": 1}) == [6]
    assert Dice().call(visitor(said), "roll", {"sides": 6, "times": 2}) == [6, 6]
    assert said == [{"rolled": 6}] * 2


REFUSED = {
    "a field out of its bounds": ({"sides": 1}, "sides"),
    "a field that is missing": ({}, "sides"),
    "no arguments": (None, "sides"),
    "arguments that are no map": ([6], "args"),
}


@pytest.mark.parametrize(("args", "field"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_the_fields_is_refused_and_nothing_is_called(args: Any, field: str) -> None:
    said: list[Any] = []
    with pytest.raises(BadField) as refused:
        Dice().call(visitor(said), "roll", args)
    assert refused.value.facts == {"field": field}
    assert said == []


def test_a_method_nobody_declared_is_not_found() -> None:
    with pytest.raises(NotFound):
        Dice().call(visitor([]), "call", {})
    with pytest.raises(NotFound):
        Rooms().call(visitor([]), "roll", {})


def test_a_visitor_knows_the_room_as_clients_name_it() -> None:
    assert visitor([]).room == "plaza/lobby"


def test_actions_and_methods_have_names_of_their_own() -> None:
    assert set(Court.actions) == set(Court.methods) == {"jump"}
    assert Court.actions["jump"].function is not Court.methods["jump"].function


def test_two_functions_for_one_name_are_refused_when_the_class_is_made() -> None:
    with pytest.raises(ConfigError, match=r"'jump' is already answered by Court\.jump; remove one"):

        class Twice(Court):
            @action("jump")
            def leap(self, player: Player) -> None: ...


def test_a_subclass_may_answer_anew_by_a_function_of_the_same_name() -> None:
    class Low(Court):
        @action("jump", Field("height", "number", low=0, high=1))
        def jump(self, player: Player, height: float) -> None:
            player.height = -height

    player = Player("ann", None)  # type: ignore[arg-type]
    Low().on_input(player, {"do": "jump", "height": 1})
    assert player.height == -1
    assert Court.actions["jump"].function is Court.jump


WRONG = {
    "no map": 5,
    "no action": {"height": 1},
    "an unknown one": {"do": "fly"},
    "a name that cannot be one": {"do": ["jump"]},
    "a field too high": {"do": "jump", "height": 3},
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_an_input_that_means_nothing_is_a_bad_field(data: Any) -> None:
    with pytest.raises(BadField):
        Court().on_input(Player("ann", None), data)  # type: ignore[arg-type]
