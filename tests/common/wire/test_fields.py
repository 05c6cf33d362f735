from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField
from common.wire.codec import UNDECODABLE
from common.wire.fields import KINDS, Field, checker

OF_KIND: dict[str, Field] = {
    "name": Field("f", "name"),
    "room": Field("f", "room"),
    "text": Field("f", "text", low=1, high=8),
    "bool": Field("f", "bool"),
    "int": Field("f", "int", low=1, high=300),
    "number": Field("f", "number", low=-1, high=1),
    "data": Field("f", "data"),
    "uids": Field("f", "uids", low=0, high=3),
    "receivers": Field("f", "receivers", low=1, high=3),
    "since": Field("f", "since"),
    "client": Field("f", "client"),
    "profile": Field("f", "profile"),
}

TAKEN: dict[str, list[Any]] = {
    "name": ["alice", "a" * 64],
    "room": ["plaza/lobby"],
    "text": ["a", "12345678", "éééé"],
    "bool": [True, False],
    "int": [1, 300],
    "number": [-1, 1, 0.5, 0],
    "data": [None, 1.5, "é", b"\xff", {"a": [1]}],
    "uids": [[], ["a"], ["a", "b", "c"]],
    "receivers": [["a"], ["a", "b", "c"]],
    "since": [{"epoch": 0, "offset": 0}, {"epoch": 2**53 - 1, "offset": 2**53 - 1}],
    "client": [{"name": "roost", "version": "1"}, {"name": "", "version": "v" * 64}],
    "profile": [{}, {"name": "Ann É."}, {"level": 5, "n" * 64: [1]}, {str(n): n for n in range(64)}],
}

REFUSED: dict[str, list[Any]] = {
    "name": ["", "a" * 65, "a b", "é", 5, b"alice", ["alice"]],
    "room": ["plaza", "plaza/", "a/b/c", "plaza/" + "b" * 10_000, b"plaza/lobby", 5, {}],
    "text": ["", "123456789", "ééééé", "\ud800", b"abc", 5],
    "bool": [0, 1, "true"],
    "int": [0, 301, 2**70, -1, 1.0, True, "1"],
    "number": [1.01, -2, float("nan"), float("inf"), True, "1", None],
    "data": [float("nan"), 2**53, {1: 2}, "\ud800"],
    "uids": [["a", "b", "c", "d"], ["a b"], [1], "a", {"a": 1}, [["a"]], ["a", None]],
    "receivers": [[], ["a", "b", "c", "d"], "a b", [1], 5, {"a": 1}],
    "since": [
        {},
        {"epoch": 1},
        {"offset": 1},
        {"epoch": "1", "offset": 1},
        {"epoch": 2**53, "offset": 1},
        {"epoch": 1, "offset": -1},
        {"epoch": 1, "offset": 2**53},
        {"epoch": 1, "offset": 1.0},
        {"epoch": 1, "offset": True},
        ["e", 1],
    ],
    "client": [
        {},
        {"name": "roost"},
        {"name": "roost", "version": 1},
        {"name": "n" * 65, "version": ""},
        "r",
    ],
    "profile": [
        [],
        "name",
        {"name": ""},
        {"name": 5},
        {"name": None},
        {"name": "n" * 65},
        {"name": "a\nb"},
        {"": 1},
        {"n" * 65: 1},
        {"a": float("inf")},
        {b"a": 1},
        {"\ud800": 1},
        {str(n): n for n in range(65)},
    ],
}


def pairs(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(kind, value) for kind, values in table.items() for value in values]


def test_every_kind_is_tried_here() -> None:
    assert set(OF_KIND) == set(TAKEN) == set(REFUSED) == set(KINDS)


@pytest.mark.parametrize(("kind", "value"), pairs(TAKEN))
def test_a_value_of_its_kind_passes_as_it_is(kind: str, value: Any) -> None:
    assert checker(OF_KIND[kind])(value) == value


@pytest.mark.parametrize(("kind", "value"), pairs(REFUSED))
def test_any_other_value_is_a_bad_field_that_names_it(kind: str, value: Any) -> None:
    with pytest.raises(BadField) as caught:
        checker(OF_KIND[kind])(value)
    assert caught.value.facts == {"field": "f"}
    assert caught.value.message


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "data"])
def test_null_is_no_value_of_any_kind_but_data(kind: str) -> None:
    with pytest.raises(BadField):
        checker(OF_KIND[kind])(None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_not_be_decoded_is_of_no_kind(kind: str) -> None:
    with pytest.raises(BadField):
        checker(OF_KIND[kind])(UNDECODABLE)


def test_one_receiver_becomes_a_list() -> None:
    assert checker(OF_KIND["receivers"])("alice") == ["alice"]


@pytest.mark.parametrize("kind", ["uids", "receivers"])
def test_a_uid_named_twice_counts_once_at_its_first_place(kind: str) -> None:
    assert checker(OF_KIND[kind])(["b", "a", "b"]) == ["b", "a"]


@pytest.mark.parametrize("kind", ["since", "client"])
def test_only_the_known_parts_of_a_map_are_kept(kind: str) -> None:
    value = TAKEN[kind][0]
    assert checker(OF_KIND[kind])({**value, "more": 1}) == value
