from __future__ import annotations

import dataclasses

from common.settings import SECTIONS
from tools import document


def test_the_configuration_page_is_current() -> None:
    assert document.PAGE.read_text() == document.page(), "run `make docs`"


def test_the_examples_of_the_capacity_page_are_what_the_command_says_now() -> None:
    text = document.CAPACITY.read_text()
    assert len(document.EXAMPLE.findall(text)) >= 2
    assert text == document.with_examples(text), "run `make docs`"


def test_every_setting_has_its_row_and_its_variable() -> None:
    page = document.page()
    for section, kind in SECTIONS.items():
        assert f"\n## {section}\n" in page
        for field in dataclasses.fields(kind):
            assert f"| `ROOST_{section.upper()}_{field.name.upper()}` |" in page
