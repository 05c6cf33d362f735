from __future__ import annotations

from common.rules.rights import REMEMBERED, Rights, rights_of


def test_without_claims_everything_is_allowed() -> None:
    rights = rights_of(None, None)
    assert rights.may_room("publish", "plaza/lobby")
    assert rights.has_scope("send")


def test_empty_claims_allow_nothing() -> None:
    rights = rights_of((), ())
    assert not rights.may_room("join", "plaza/lobby")
    assert not rights.has_scope("send")


def test_a_room_is_open_for_the_actions_of_every_pattern_it_fits() -> None:
    rights = rights_of((("plaza/*", ("join",)), ("plaza/lob*", ("publish",)), ("arena/one", ("join",))), None)
    assert rights.may_room("join", "plaza/lobby")
    assert rights.may_room("publish", "plaza/lobby")
    assert not rights.may_room("publish", "plaza/garden")
    assert not rights.may_room("history", "plaza/lobby")
    assert rights.may_room("join", "arena/one")
    assert not rights.may_room("join", "arena/one2")


def test_scopes_are_those_listed() -> None:
    rights = rights_of(None, ("send", "watch"))
    assert rights.has_scope("watch")
    assert not rights.has_scope("enter")


def test_equal_claims_share_one_object() -> None:
    first = rights_of((("plaza/*", ("join",)),), ("send",))
    assert rights_of((("plaza/" + "*", ("join",)),), ("send",)) is first
    assert rights_of((("plaza/*", ("publish",)),), ("send",)) is not first


def test_what_is_shared_is_bounded_and_what_fell_out_is_still_equal() -> None:
    first = rights_of((("first", ("join",)),), None)
    for number in range(REMEMBERED):
        rights_of(((f"room{number}", ("join",)),), None)
    assert rights_of.cache_info().currsize == REMEMBERED
    again = rights_of((("first", ("join",)),), None)
    assert again is not first
    assert again == first == Rights((("first", ("join",)),), None)
