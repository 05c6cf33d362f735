from __future__ import annotations

from typing import Any

import pytest

from common.errors import BadField, Conflict, Full, NotFound, RequestError
from common.rules.matching import Matching, MatchLimits
from common.rules.queue import Mode

LIMITS = MatchLimits(tickets=6, wait=100.0, accept=10.0, remember=60.0)
MODES = {"duel": Mode(teams=2), "pairs": Mode(teams=2, size=2)}


@pytest.fixture
def matching() -> Matching:
    return Matching(MODES, "arena", LIMITS, number=100)


def find(matching: Matching, *party: str, mode: str = "duel", rank: float = 1_000, now: float = 0) -> Any:
    return matching.find(mode, party, rank, now)


def heard(matching: Matching) -> dict[str, list[str]]:
    """Take the notices: uid -> states and reasons it was told."""
    told: dict[str, list[str]] = {}
    for uids, what in matching.notices:
        for uid in uids:
            told.setdefault(uid, []).append(what.get("reason", what["state"]))
    matching.notices.clear()
    return told


def states(matching: Matching, *uids: str, now: float = 0) -> list[str]:
    return [matching.status(uid, now)["state"] for uid in uids]


def offered(matching: Matching, uid: str = "ann", now: float = 0) -> int:
    return int(matching.status(uid, now)["match"])


def duel(matching: Matching, now: float = 0) -> int:
    """Have ann and bob be offered a match; give its number."""
    find(matching, "ann", now=now)
    find(matching, "bob", now=now)
    matching.step(now, 9)
    matching.notices.clear()
    return offered(matching, now=now)


def refused(kind: type[RequestError], act: Any, *args: Any, **others: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        act(*args, **others)
    return caught.value


def test_two_are_offered_a_match_accept_and_are_sent_to_its_instance(matching: Matching):
    assert find(matching, "ann") == {"state": "waiting", "mode": "duel", "waited": 0, "range": 50}
    find(matching, "bob")
    matching.step(0, 9)
    assert heard(matching) == {"ann": ["offered"], "bob": ["offered"]}
    number = offered(matching)
    assert matching.accept("ann", number, True, 4) == {
        "state": "accepted",
        "match": number,
        "mode": "duel",
        "within": 6.0,
    }
    assert matching.agreed == []
    matching.accept("bob", number, True, 5)
    match = matching.agreed.pop()
    matching.made(match, "0:17", 6)
    assert heard(matching) == {"ann": ["made"], "bob": ["made"]}
    assert matching.status("bob", 7) == {
        "state": "made",
        "match": number,
        "mode": "duel",
        "map": "arena",
        "line": "0:17",
        "teams": [["ann"], ["bob"]],
    }
    assert len(matching) == 0


def test_a_match_that_was_made_is_remembered_for_a_while(matching: Matching):
    number = duel(matching)
    for uid in ("ann", "bob"):
        matching.accept(uid, number, True, 0)
    matching.made(matching.agreed.pop(), "0:17", 0)
    assert matching.accept("ann", number, True, 1)["line"] == "0:17", "said again"
    matching.step(59.9, 9)
    assert states(matching, "ann") == ["made"]
    matching.step(60, 9)
    assert states(matching, "ann", "bob") == ["none", "none"]


def test_who_looks_for_the_next_match_is_not_told_of_the_last(matching: Matching):
    number = duel(matching)
    for uid in ("ann", "bob"):
        matching.accept(uid, number, True, 0)
    matching.made(matching.agreed.pop(), "0:17", 0)
    find(matching, "ann", now=1)
    assert states(matching, "ann", "bob") == ["waiting", "made"]
    matching.step(60, 9)
    assert states(matching, "ann", now=60) == ["waiting"]


def test_who_gave_up_the_next_match_is_not_told_of_the_last(matching: Matching):
    number = duel(matching)
    for uid in ("ann", "bob"):
        matching.accept(uid, number, True, 0)
    matching.made(matching.agreed.pop(), "0:17", 0)
    find(matching, "ann", now=1)
    matching.cancel("ann", 2)
    assert states(matching, "ann", "bob") == ["none", "made"]


def test_one_who_declines_is_out_and_the_other_waits_on_as_long_as_before(matching: Matching):
    number = duel(matching)
    matching.accept("ann", number, True, 1)
    assert matching.accept("bob", number, False, 2) == {"state": "none"}
    assert heard(matching) == {"ann": ["waiting"], "bob": ["declined"]}
    assert matching.status("ann", 2)["waited"] == 2.0
    assert len(matching) == 1


def test_who_does_not_answer_in_time_is_out(matching: Matching):
    number = duel(matching)
    matching.accept("ann", number, True, 1)
    matching.step(9.9, 9)
    assert heard(matching) == {}
    matching.step(10, 9)
    assert heard(matching) == {"ann": ["waiting"], "bob": ["expired"]}
    assert states(matching, "ann", "bob", now=10) == ["waiting", "none"]


def test_an_answer_that_comes_too_late_is_refused(matching: Matching):
    number = duel(matching)
    assert refused(NotFound, matching.accept, "ann", number, True, 10.0).facts == {"field": "match"}


def test_a_match_is_only_for_those_it_was_offered_to(matching: Matching):
    number = duel(matching)
    refused(NotFound, matching.accept, "cat", number, True, 0)
    refused(NotFound, matching.accept, "ann", number + 1, True, 0)
    assert states(matching, "ann", "bob") == ["offered", "offered"]


def test_who_cancels_an_offer_or_an_agreed_match_has_declined(matching: Matching):
    number = duel(matching)
    matching.accept("ann", number, True, 0)
    matching.accept("bob", number, True, 0)
    match = matching.agreed[0]
    matching.cancel("ann", 1)
    assert heard(matching) == {"ann": ["declined"], "bob": ["waiting"]}
    assert matching.agreed == []
    matching.made(match, "0:17", 2)
    matching.failed(match)
    assert heard(matching) == {}, "an instance made meanwhile is nobody's"
    assert states(matching, "ann", "bob", now=2) == ["none", "waiting"]


def test_all_wait_on_when_no_instance_is_to_be_had(matching: Matching):
    number = duel(matching)
    matching.accept("ann", number, True, 0)
    matching.accept("bob", number, True, 0)
    matching.failed(matching.agreed.pop())
    assert heard(matching) == {"ann": ["waiting"], "bob": ["waiting"]}
    matching.step(1, 9)
    assert heard(matching) == {"ann": ["offered"], "bob": ["offered"]}


def test_a_party_waits_plays_and_leaves_together(matching: Matching):
    find(matching, "ann", "bob", mode="pairs")
    assert heard(matching) == {"bob": ["waiting"]}
    for uid in ("cat", "dan"):
        find(matching, uid, mode="pairs")
    matching.step(0, 9)
    number = offered(matching)
    matching.accept("bob", number, False, 1)
    assert states(matching, "ann", "bob", "cat", "dan", now=1) == ["none", "none", "waiting", "waiting"]


def test_any_of_a_party_may_cancel(matching: Matching):
    find(matching, "ann", "bob", mode="pairs")
    matching.notices.clear()
    matching.cancel("bob", 1)
    assert heard(matching) == {"ann": ["cancelled"]}
    matching.cancel("bob", 1)
    assert heard(matching) == {}
    assert len(matching) == 0


def test_asking_again_changes_nothing(matching: Matching):
    find(matching, "ann", "bob", mode="pairs")
    assert find(matching, "bob", "ann", mode="pairs", now=7)["waited"] == 7.0
    assert len(matching) == 1


def test_nobody_waits_twice(matching: Matching):
    find(matching, "ann")
    assert refused(Conflict, find, matching, "ann", mode="pairs").facts == {"uid": "ann"}
    assert refused(Conflict, find, matching, "bob", "ann", mode="pairs").facts == {"uid": "ann"}
    assert states(matching, "bob") == ["none"]
    assert len(matching) == 1


BAD = {"no such mode": ({"mode": "war"}, "mode"), "too many": ({"mode": "duel"}, "party")}


@pytest.mark.parametrize(("asked", "field"), BAD.values(), ids=BAD)
def test_what_cannot_be_played_is_refused(matching: Matching, asked: dict[str, str], field: str):
    assert refused(BadField, find, matching, "ann", "bob", **asked).facts == {"field": field}
    assert len(matching) == 0


def test_only_so_many_wait(matching: Matching):
    for n in range(6):
        find(matching, f"u{n}", rank=10_000 * n)
    assert refused(Full, find, matching, "ann").facts == {"limit": 6}
    matching.cancel("u0", 0)
    find(matching, "ann")


def test_nobody_waits_for_ever(matching: Matching):
    find(matching, "ann")
    matching.step(100, 9)
    assert heard(matching) == {}
    matching.step(100.1, 9)
    assert heard(matching) == {"ann": ["expired"]}
    assert states(matching, "ann") == ["none"]


def test_a_step_tells_whether_there_is_more_to_do(matching: Matching):
    for n in range(4):
        find(matching, f"u{n}")
    assert matching.step(0, 1)
    assert matching.step(0, 2) is False


def test_matches_have_numbers_of_their_own_beyond_those_of_an_earlier_life(matching: Matching):
    assert duel(matching) > 100
