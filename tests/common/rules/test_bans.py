from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Unauthorized
from common.rules.bans import Bans, words

ANN, BOB, OTHER = "demo/ann", "demo/bob", "other/ann"
NOW = 1_700_000_000_000

STANDS = {
    "for good": (0, True),
    "until later": (NOW + 1, True),
    "until now": (NOW, False),
    "until before": (NOW - 1, False),
}


@pytest.mark.parametrize("until, banned", STANDS.values(), ids=STANDS)
def test_a_ban_holds_until_its_time_is_over(until: int, banned: bool) -> None:
    bans = Bans()
    bans.ban(ANN, until)
    assert bans.until(ANN, NOW) == (until if banned else None)
    assert bans.until(BOB, NOW) is None
    assert bans.until(OTHER, NOW) is None


def test_who_is_banned_is_refused_with_until_when() -> None:
    bans = Bans()
    bans.ban(ANN, NOW + 60_000)
    bans.check(BOB, NOW)
    with pytest.raises(Unauthorized, match="banned until 2023-11-14T22:14:20Z") as caught:
        bans.check(ANN, NOW)
    assert caught.value.facts == {"until": NOW + 60_000}


@pytest.mark.parametrize("until, said", {0: "banned", 2**53: "banned until 9999-12-31T23:59:59Z"}.items())
def test_any_time_can_be_said(until: int, said: str) -> None:
    assert words(until) == said


def test_a_read_replaces_what_was_known_of_its_product_and_names_who_is_new() -> None:
    bans = Bans()
    bans.ban(OTHER, 0)
    assert not bans.known("demo")
    bans.begin("demo")
    assert bans.read("demo", {ANN: 0, BOB: NOW - 1}, NOW) == [ANN]
    assert bans.known("demo") and not bans.known("other")
    bans.begin("demo")
    assert bans.read("demo", {ANN: 0}, NOW) == []
    bans.begin("demo")
    assert bans.read("demo", {BOB: 0}, NOW) == [BOB]
    assert (bans.until(ANN, NOW), bans.until(BOB, NOW), bans.until(OTHER, NOW)) == (None, 0, 0)
    assert len(bans) == 2


def test_what_is_said_while_a_read_is_under_way_counts() -> None:
    bans = Bans()
    bans.ban(BOB, 0)
    bans.begin("demo")
    bans.ban(ANN, 0)
    bans.unban(BOB)
    assert bans.read("demo", {BOB: 0}, NOW) == []
    assert (bans.until(ANN, NOW), bans.until(BOB, NOW)) == (0, None)


def test_a_read_that_failed_changes_nothing() -> None:
    bans = Bans()
    bans.begin("demo")
    bans.ban(ANN, 0)
    bans.failed("demo")
    assert bans.until(ANN, NOW) == 0 and not bans.known("demo")
    bans.begin("demo")
    assert bans.read("demo", {}, NOW) == []
    assert bans.until(ANN, NOW) is None


USERS = st.sampled_from([ANN, BOB, OTHER])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ban"), USERS),
        st.tuples(st.just("unban"), USERS),
        st.tuples(st.sampled_from(["look", "take", "fail"]), st.sampled_from(["demo", "other"])),
    ),
    max_size=40,
)


@given(STEPS)
def test_after_a_read_the_copy_is_what_is_stored_whatever_happened_meanwhile(
    steps: list[tuple[str, Any]],
) -> None:
    """Who bans stores it first and says it then; a read sees storage when it looks."""
    bans, stored = Bans(), set()
    under_way: dict[str, dict[str, int]] = {}
    for kind, what in steps:
        if kind == "ban":
            stored.add(what)
            bans.ban(what, 0)
        elif kind == "unban":
            stored.discard(what)
            bans.unban(what)
        elif kind == "look" and what not in under_way:
            bans.begin(what)
            under_way[what] = {user: 0 for user in stored if user.startswith(f"{what}/")}
        elif kind == "take" and what in under_way:
            bans.read(what, under_way.pop(what), NOW)
        elif kind == "fail" and under_way.pop(what, None) is not None:
            bans.failed(what)
        assert {user for user in (ANN, BOB, OTHER) if bans.until(user, NOW) is not None} == stored
