"""Registry, hosts and the desk together."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, NotFound, Unavailable
from common.net.lines.registry import LINES, line_place, line_report, lines
from tests.common.net.lines.scene import ARENA, SIZES, Scene


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.report()
    return scene


def enter(scene: Scene, line: str, uid: str = "ann") -> None:
    world = scene.hosts[f"world-{1 + int(line[0])}"]
    world.hosting.entered(world.hosting.admit(f"{ARENA}/{line}", uid, 0.0))


def test_players_fill_lines_of_all_worlds(scene: Scene):
    placed = [scene.desk.place(ARENA) for _ in range(5)]
    assert placed == ["0.1", "0.1", "1.1", "1.1", "0.2"]
    for line in placed:
        enter(scene, line)
    scene.report()
    assert lines(scene.registry, ARENA) == [["0.1", 2, True], ["0.2", 1, True], ["1.1", 2, True]]


def test_an_instance_is_open_at_its_world_when_it_is_given(scene: Scene):
    line = scene.desk.make(ARENA, 2, {"guests": ["ann", "bob"]})
    enter(scene, line, "bob")
    scene.report()
    assert lines(scene.registry, ARENA) == [], "nobody else is told of it"
    assert scene.desk.place(ARENA, wish=line) == line


def test_an_instance_whose_world_does_not_answer_leaves_nothing(scene: Scene):
    scene.away = {"world-1"}
    with pytest.raises(Unavailable):
        scene.desk.make(ARENA, 2, None)
    assert len(scene.registry.lines) == 0


def test_a_world_started_again_opens_its_instances_again(scene: Scene):
    line = scene.desk.make(ARENA, 2, {"guests": ["ann"]})
    scene.report()
    scene.start("world-1", "0002").report(1.0)
    assert scene.hosts["world-1"].hosting.rows() == [[f"{ARENA}/{line}", 0, 0]]
    enter(scene, line, "ann")


def test_a_function_started_again_knows_all_after_one_report(scene: Scene):
    line = scene.desk.place(ARENA)
    enter(scene, line)
    scene.registries.update(Scene().registries)
    scene.report()
    assert lines(scene.registry, ARENA) == [["0.1", 1, True]]


def test_while_function_is_away_players_go_where_the_last_ones_went(scene: Scene):
    with_nobody = Scene()
    with_nobody.away = set(with_nobody.places.functions)
    with pytest.raises(Unavailable):
        with_nobody.desk.place(ARENA)
    line = scene.desk.place(ARENA)
    scene.away = set(scene.places.functions)
    assert scene.desk.place(ARENA) == line
    assert scene.desk.place(ARENA, wish="1.7") == "1.7"
    with pytest.raises(Unavailable):
        scene.desk.make(ARENA, 1, None)


NOWHERE: dict[str, Any] = {"dead": ({"world-1": "gone"}, ""), "to be avoided": ({}, "world-1")}


@pytest.mark.parametrize(("states", "apart"), NOWHERE.values(), ids=NOWHERE)
def test_without_function_nobody_goes_to_a_world_that_is(scene: Scene, states: dict[str, str], apart: str):
    scene.desk.place(ARENA)
    scene.away, scene.states = set(scene.places.functions), states
    with pytest.raises(Unavailable):
        scene.desk.place(ARENA, apart=apart)


def test_the_lines_remembered_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("common.net.lines.desk.AREAS", 2)
    for product in ("a", "b", "a", "c"):
        scene.desk.place(f"{product}/arena")
    scene.away = set(scene.places.functions)
    assert scene.desk.place("a/arena")
    with pytest.raises(Unavailable):
        scene.desk.place("b/arena")


def test_every_function_hears_all_worlds_and_one_decides_for_a_map():
    scene = Scene(functions=3)
    scene.report()
    assert all(line_place(registry, ARENA, 1) == "0.1" for registry in scene.registries.values())
    scene.away = set(scene.places.functions) - {scene.places.function_of(ARENA)}
    assert scene.desk.place(ARENA) == "0.1"


def test_a_busy_world_says_so(scene: Scene):
    scene.busy["world-1"] = True
    scene.report()
    assert scene.desk.place(ARENA) == "1.1"


def test_a_world_knows_whether_function_has_heard_of_it():
    scene = Scene()
    host = scene.hosts["world-1"]
    scene.away = set(scene.places.functions)
    host.report(1.0)
    assert not host.heard
    scene.away = set()
    host.report(1.0)
    assert host.heard


def test_only_worlds_report(scene: Scene):
    with pytest.raises(BadField):
        line_report(scene.registry, "gateway-0", ["1", 1], "ready", False, SIZES, [])


BAD = {
    "no map": ("demo", 1, BadField),
    "an unknown map": ("demo/moon", 1, NotFound),
    "nobody": (ARENA, 0, BadField),
}


@pytest.mark.parametrize(("area", "size", "kind"), BAD.values(), ids=BAD)
def test_a_wrong_question_is_refused(scene: Scene, area: str, size: int, kind: type[Exception]):
    for method in ("line_place", "line_make"):
        handler = LINES.get(method)
        assert handler is not None
        with pytest.raises(kind):
            handler(scene.registry, area, size, *(() if method == "line_place" else (None,)))
