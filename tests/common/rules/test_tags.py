from __future__ import annotations

import pytest

from common.errors import BadField
from common.rules.tags import JUDGED, TAGS_LIMIT, Wanted, as_tags, check_tags

FITS = {
    "all wanted": (["a", "b"], ["a", "b", "c"], True),
    "one missing": (["a", "d"], ["a", "b", "c"], False),
    "nobody has none": (["a"], [], False),
    "none wanted": ([], [], True),
}


@pytest.mark.parametrize("wanted, tags, fits", FITS.values(), ids=FITS)
def test_a_connection_fits_with_all_wanted_tags(wanted: list[str], tags: list[str], fits: bool) -> None:
    one = Wanted(wanted)
    assert [one.fits(as_tags(tags)) for _ in range(2)] == [fits, fits]


def test_any_number_of_different_sets_is_judged() -> None:
    wanted = Wanted(["a"])
    assert all(wanted.fits(("a", str(number))) for number in range(JUDGED + 10))
    assert not any(wanted.fits((str(number),)) for number in range(JUDGED + 10))


def test_equal_sets_have_one_form() -> None:
    assert as_tags(["b", "a", "b"]) == as_tags(["a", "b"]) == ("a", "b")


def test_a_list_of_names_is_taken() -> None:
    assert check_tags(["b", "a"]) == ("a", "b")
    assert check_tags([]) == ()
    assert len(check_tags([str(number) for number in range(TAGS_LIMIT)])) == TAGS_LIMIT


WRONG = {
    "no list": "a",
    "none": None,
    "too many": [str(number) for number in range(TAGS_LIMIT + 1)],
    "no name": ["a b"],
    "no string": [1],
    "empty": [""],
}


@pytest.mark.parametrize("tags", WRONG.values(), ids=WRONG)
def test_anything_else_is_refused(tags: object) -> None:
    with pytest.raises(BadField) as caught:
        check_tags(tags)
    assert caught.value.facts == {"field": "tags"}
