from __future__ import annotations

from pathlib import Path
from typing import Any

from common.rules.inputs import Inputs
from tests.worlds import pond
from tests.worlds.page import map_code
from worlds.space import Player


def test_the_map_tried_here_is_that_of_the_page() -> None:
    assert Path(pond.__file__).read_text() == map_code()


def test_the_map_of_the_page_works_as_the_page_says() -> None:
    here: Any = pond.Pond()
    here.on_open()
    ann = Player("ann", Inputs(4))
    assert here.on_enter(ann, "Kermit") == {"lilies": 5}
    here.players["ann"] = here.add(ann)
    here.on_input(ann, {"do": "hop", "dx": 0, "dy": 40})
    assert (ann.x, ann.y, here.call(ann, "jumps", None)) == (500, 440, 1)
    assert len(here.near(500, 500, 1_000, kind="lily")) == 5
    here.on_input(ann, {"do": "hop", "dx": 0, "dy": 40})
    assert len(here.near(500, 500, 1_000, kind="lily")) == 4
    for timer in here.timers.due(5.0):
        timer.fire()
    assert len(here.near(500, 500, 1_000, kind="lily")) == 5
