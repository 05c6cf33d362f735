from __future__ import annotations

import tomllib
from typing import Any

from common.settings import ROOT, Settings, load

PAGE = ROOT / "conf" / "roost.toml"


def said() -> dict[str, dict[str, Any]]:
    return tomllib.loads(PAGE.read_text())


def test_the_file_is_accepted_as_it_is() -> None:
    assert load({}) == Settings()


def test_what_the_file_shows_is_the_default() -> None:
    declared = Settings()
    for section, values in said().items():
        for key, value in values.items():
            default = getattr(getattr(declared, section), key)
            if section == "world" and key == "rooms":
                assert [rule["pattern"] for rule in value] == [rule.pattern for rule in default]
                continue
            shown = tuple(value) if isinstance(value, list) else value
            assert shown == default, f"{section}.{key}"


def test_durable_rooms_are_shown() -> None:
    rules = said()["world"]["rooms"]
    assert {rule["pattern"]: rule["durable"] for rule in rules} == {"plaza/keep.*": True, "*": False}
