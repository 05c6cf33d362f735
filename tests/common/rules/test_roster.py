from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.roster import Roster, Seat

ANN, BOB = Seat(1, "ann", "phone", "mobile", 100), Seat(2, "bob", "web", "browser", 200)
ANN_TOO = Seat(3, "ann", "web", "browser", 50)

Lists = list[tuple[str, list[Seat]]]
Wanted = tuple[list[str], list[str]]

LAST_CHANGES: dict[str, tuple[Lists, Wanted]] = {
    "the first of a user comes in": ([("a", [ANN])], (["ann"], [])),
    "several": ([("a", [ANN, BOB])], (["ann", "bob"], [])),
    "the same list again": ([("a", [ANN]), ("a", [ANN])], ([], [])),
    "a second connection is nobody's coming": ([("a", [ANN]), ("a", [ANN, ANN_TOO])], ([], [])),
    "nor one at another gateway": ([("a", [ANN]), ("b", [ANN_TOO])], ([], [])),
    "one of two goes": ([("a", [ANN, ANN_TOO]), ("a", [ANN_TOO])], ([], [])),
    "the last goes": ([("a", [ANN, BOB]), ("a", [BOB])], ([], ["ann"])),
    "the last of two gateways goes": ([("a", [ANN]), ("b", [ANN_TOO]), ("a", []), ("b", [])], ([], ["ann"])),
    "another connection of the same user": ([("a", [ANN]), ("a", [ANN_TOO])], ([], [])),
    "the number is another user's now": ([("a", [ANN]), ("a", [BOB._replace(conn=1)])], (["bob"], ["ann"])),
    "the same number at two gateways": ([("a", [ANN]), ("b", [BOB._replace(conn=1)])], (["bob"], [])),
    "one goes, one comes": ([("a", [ANN]), ("a", [BOB])], (["bob"], ["ann"])),
    "a list of nobody": ([("a", [])], ([], [])),
}


@pytest.mark.parametrize(("lists", "wanted"), LAST_CHANGES.values(), ids=LAST_CHANGES)
def test_the_last_list_tells_who_came_and_who_went(lists: Lists, wanted: Wanted) -> None:
    roster = Roster(())
    *earlier, last = lists
    for gateway, seats in earlier:
        roster.take(gateway, seats)
    assert roster.take(*last) == wanted


def test_what_an_awaited_gateway_tells_first_was_there_before() -> None:
    roster = Roster(["a", "b"])
    assert roster.take("a", [ANN]) == ([], [])
    assert roster.awaited == {"b"}
    assert roster.take("c", [BOB]) == (["bob"], [])
    assert roster.take("b", [ANN_TOO]) == ([], [])
    assert roster.take("b", []) == ([], [])
    assert roster.take("a", []) == ([], ["ann"])


def test_a_user_is_listed_once_with_all_devices_since_the_first() -> None:
    roster = Roster(())
    roster.take("a", [ANN, BOB])
    roster.take("b", [ANN_TOO])
    assert roster.listing() == [
        ("ann", [["phone", "mobile"], ["web", "browser"]], 50),
        ("bob", [["web", "browser"]], 200),
    ]


def test_nobody_is_listed_after_all_have_gone() -> None:
    roster = Roster(())
    roster.take("a", [ANN, BOB])
    roster.take("a", [])
    assert roster.listing() == []


SEATS = st.builds(
    Seat, st.integers(1, 6), st.sampled_from(["ann", "bob", "cat"]), st.just("d"), st.just("k"), st.just(1)
)
SEAT_LISTS = st.lists(SEATS, max_size=5, unique_by=lambda seat: seat.conn)


@given(lists=st.lists(st.tuples(st.sampled_from("abc"), SEAT_LISTS), max_size=20))
def test_coming_and_going_follow_who_has_a_connection_anywhere(lists: Lists) -> None:
    roster = Roster(())
    told: dict[str, list[Seat]] = {}
    here: set[str] = set()
    for gateway, seats in lists:
        came, went = roster.take(gateway, seats)
        told[gateway] = seats
        now = {seat.uid for each in told.values() for seat in each}
        assert (Counter(came), Counter(went)) == (Counter(now - here), Counter(here - now))
        here = now
    assert {uid for uid, *_ in roster.listing()} == here
