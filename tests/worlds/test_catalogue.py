from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from worlds.catalogue import find, find_anew, version_of
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


POND = """
from worlds.space import Space

class Pond(Space):
    fill = {fill}
"""
TARGET = "a_pond_of_a_test:Pond"


@pytest.fixture
def pond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a map that is imported already."""
    path = tmp_path / "a_pond_of_a_test.py"
    path.write_text(POND.format(fill=1))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield path
    sys.modules.pop("a_pond_of_a_test", None)


def test_a_map_is_read_anew_as_its_file_is_now(pond: Path) -> None:
    first: Any = find("pond", TARGET)
    version = version_of(TARGET)
    pond.write_text(POND.format(fill=2))
    second: Any
    second, name = find_anew("pond", TARGET)
    assert (first.fill, second.fill) == (1, 2)
    assert name == version_of(TARGET) != version
    assert sys.modules["a_pond_of_a_test"].Pond is second


BROKEN = {
    "no Python": ("class Pond(", "SyntaxError"),
    "an error at import": ("1 / 0", "ZeroDivisionError"),
    "the class is gone": ("Pond = 3", "no class derived from"),
}


@pytest.mark.parametrize(("text", "words"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_cannot_be_read_anew_leaves_what_was_imported(pond: Path, text: str, words: str) -> None:
    first = find("pond", TARGET)
    pond.write_text(text)
    with pytest.raises(ConfigError, match=words):
        find_anew("pond", TARGET)
    assert find("pond", TARGET) is first
