from __future__ import annotations

import pytest

from common.errors import BadField
from common.wire.names import (
    is_name,
    is_room,
    product_of,
    room_key,
    room_of,
    split_room,
    uid_of,
    user_key,
)

BAD_NAMES = {
    "empty": "",
    "too long": "a" * 65,
    "space": "a b",
    "slash": "a/b",
    "newline at the end": "a\n",
    "not ascii": "é",
    "digits of another script": "١",
    "lone surrogate": "\udcff",
    "star": "*",
    "bytes": b"a",
    "number": 7,
    "nothing": None,
}


@pytest.mark.parametrize("text", ["a", "a" * 64, "AZaz09._-:@"])
def test_a_name_is_up_to_64_bytes_of_its_alphabet(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_anything_else_is_no_name(text: object) -> None:
    assert not is_name(text)


@pytest.mark.parametrize("room", ["plaza/lobby", "a" * 64 + "/" + "b" * 64])
def test_a_room_splits_into_map_and_name(room: str) -> None:
    assert is_room(room)
    assert "/".join(split_room(room)) == room


@pytest.mark.parametrize("room", ["plaza", "/lobby", "plaza/", "a/b/c", "a/b\n", "a/" + "b" * 10_000])
def test_what_is_not_map_and_name_is_a_bad_room_field(room: str) -> None:
    assert not is_room(room)
    with pytest.raises(BadField) as caught:
        split_room(room)
    assert caught.value.facts == {"field": "room"}


@pytest.mark.parametrize("room", [b"plaza/lobby", 7, None])
def test_what_is_no_string_is_no_room(room: object) -> None:
    assert not is_room(room)


def test_keys_give_back_their_parts() -> None:
    user, room = user_key("game", "alice"), room_key("game", "plaza/lobby")
    assert (user, room) == ("game/alice", "game/plaza/lobby")
    assert (product_of(user), uid_of(user)) == ("game", "alice")
    assert (product_of(room), room_of(room)) == ("game", "plaza/lobby")
