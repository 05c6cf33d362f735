from __future__ import annotations

from math import hypot
from random import Random

import pytest

from loadtest.bots.mind import Mind


@pytest.mark.parametrize("size", [600, 2_400])
def test_a_bot_walks_all_the_time_and_never_into_the_edge(size: int):
    chance = Random(5)
    mind, x, y, heading = Mind(size, size, False, chance), size / 2, size / 2, (0.0, 0.0)
    shots = 0
    for _ in range(2_000):
        said = mind.act(x, y)
        assert hypot(said["dx"], said["dy"]) == pytest.approx(1)
        shots += said["do"] == "fire"
        if said["do"] == "walk":
            heading = said["dx"], said["dy"]
        way = 48 * mind.waits()
        x, y = x + heading[0] * way, y + heading[1] * way
        assert 0 < x < size
        assert 0 < y < size
    assert 200 < shots < 1_000


def test_where_nobody_is_hurt_nobody_shoots():
    mind = Mind(600, 600, True, Random(5))
    assert {mind.act(300, 300)["do"] for _ in range(100)} == {"walk"}
