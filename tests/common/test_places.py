from __future__ import annotations

import pytest

from common.errors import NotFound
from common.places import Places
from common.settings import Cluster, Settings
from common.wire.lines import Line


@pytest.fixture
def places() -> Places:
    return Places(Settings(cluster=Cluster(maps={"plaza": 2, "arena": 3})))


def test_worlds_are_numbered_through_all_maps(places: Places):
    assert places.maps == {"plaza": ("world-0", "world-1"), "arena": ("world-2", "world-3", "world-4")}


def test_the_name_of_a_line_says_which_process_of_its_map_hosts_it(places: Places):
    assert places.host_of("demo/arena", Line(1, 7)) == "world-3"
    assert places.host_of("demo/plaza", Line(1, 99, made=True)) == "world-1"


NOWHERE = {"no such map": ("demo/moon", Line(0, 1)), "no such process": ("demo/plaza", Line(2, 1))}


@pytest.mark.parametrize(("area", "line"), NOWHERE.values(), ids=NOWHERE)
def test_a_line_without_a_host_is_not_found(places: Places, area: str, line: Line):
    with pytest.raises(NotFound):
        places.host_of(area, line)


def test_the_matches_of_a_map_are_made_in_one_of_its_processes(places: Places):
    homes = {places.home_of(f"product{n}/arena") for n in range(50)}
    assert homes == set(places.maps["arena"])
