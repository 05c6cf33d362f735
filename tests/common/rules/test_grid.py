from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.grid import NOWHERE, Grid, around

COORDINATE = st.one_of(st.integers(0, 100), st.floats(0, 100))


def test_a_cell_knows_what_touches_it_as_far_as_the_map_goes() -> None:
    assert around(4, 3, 3) == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert around(0, 3, 3) == (0, 1, 3, 4)
    assert around(5, 3, 3) == (1, 2, 4, 5, 7, 8)
    assert around(0, 1, 1) == (0,)
    assert around(NOWHERE, 3, 3) == ()


@given(COORDINATE, COORDINATE)
def test_every_point_of_the_map_its_far_edges_too_is_in_a_cell_of_the_map(x: float, y: float) -> None:
    grid = Grid(100, 100, 25, 3)
    assert 0 <= grid.cell(x, y) < grid.columns * grid.rows


@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE)
def test_a_kept_centre_shows_all_within_the_promised_distance_and_nothing_beyond(
    x: float, y: float, other_x: float, other_y: float
) -> None:
    grid = Grid(100, 100, 10, 2)
    for centre in range(grid.columns * grid.rows):
        if grid.left(centre, x, y):
            continue
        seen = grid.cell(other_x, other_y) in grid.around(centre)
        distance = max(abs(x - other_x), abs(y - other_y))
        if distance < 10 - 2:
            assert seen
        if distance > 2 * 10 + 2:
            assert not seen


def test_a_centre_is_kept_until_its_edge_is_left_behind_by_the_margin() -> None:
    grid = Grid(100, 100, 10, 2)
    centre = grid.cell(15, 15)
    assert not grid.left(centre, 15, 15)
    assert not grid.left(centre, 21.9, 8)
    assert grid.left(centre, 22, 15)
    assert grid.left(centre, 15, 7.9)


@given(COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.integers(0, 60))
def test_the_cells_within_a_radius_hold_every_point_that_near(
    x: float, y: float, other_x: float, other_y: float, radius: int
) -> None:
    grid = Grid(100, 100, 7, 1)
    cells = list(grid.within(x, y, radius))
    assert len(cells) == len(set(cells))
    assert all(0 <= cell < grid.columns * grid.rows for cell in cells)
    if max(abs(x - other_x), abs(y - other_y)) <= radius:
        assert grid.cell(other_x, other_y) in cells


BAD = {"no width": (0, 9, 1, 0), "no side": (9, 9, 0, 0), "a margin as wide as a cell": (9, 9, 2, 2)}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_a_grid_that_cannot_be_is_refused(arguments: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="no grid"):
        Grid(*arguments)
