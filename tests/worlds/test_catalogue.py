from __future__ import annotations

import pytest

from common.errors import ConfigError
from worlds.catalogue import find
from worlds.meadow import Meadow
from worlds.rooms import Rooms


def test_a_map_is_found_by_module_and_class() -> None:
    assert find("meadow", "worlds.meadow:Meadow") is Meadow


def test_a_map_nobody_wrote_a_class_for_has_plain_rooms() -> None:
    assert find("plaza", "") is Rooms


WRONG = {
    "no such module": ("worlds.nowhere:Map", "No module named"),
    "no such class": ("worlds.meadow:Wood", "no class derived from"),
    "something else": ("worlds.meadow:SPEED", "no class derived from"),
    "neither rooms nor space": ("worlds.map:Map", "no class derived from"),
}


@pytest.mark.parametrize(("target", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_map_is_an_error_that_names_the_setting(target: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        find("meadow", target)
    assert f"world.maps.meadow = {target!r}" in str(refused.value)
