from __future__ import annotations

import pytest

from common.rules.watches import Watches

A, B = "gateway-0", "gateway-1"


@pytest.fixture
def watches() -> Watches:
    made = Watches()
    made.add(A, ["u1", "u2"])
    made.add(B, ["u1"])
    return made


def told(watches: Watches, gateway: str) -> list[str]:
    return watches.take(gateway, 100)


def test_only_gateways_that_watch_are_told(watches: Watches) -> None:
    for user in ("u1", "u2", "u3"):
        watches.tell(user)
    assert told(watches, A) == ["u1", "u2"]
    assert told(watches, B) == ["u1"]
    assert told(watches, A) == []


def test_a_watch_taken_back_is_told_nothing_more(watches: Watches) -> None:
    watches.tell("u1")
    watches.remove(A, ["u1"])
    assert told(watches, A) == []
    assert told(watches, B) == ["u1"]
    watches.remove(B, ["u1"])
    assert "u1" not in watches and "u2" in watches and len(watches) == 1


def test_taking_back_what_is_not_watched_is_harmless(watches: Watches) -> None:
    watches.remove(B, ["u2", "u9"])
    assert "u2" in watches


def test_a_user_that_changes_often_is_told_once(watches: Watches) -> None:
    for _ in range(3):
        watches.tell("u1")
    assert told(watches, A) == ["u1"]


def test_a_renewed_list_replaces_the_old_one_at_its_last_slice(watches: Watches) -> None:
    watches.renew(A, ["u3"], True, False)
    assert "u2" in watches
    watches.renew(A, ["u1"], False, True)
    assert "u2" not in watches
    assert told(watches, A) == ["u3", "u1"]
    assert told(watches, B) == []


def test_watches_that_come_between_slices_stay(watches: Watches) -> None:
    watches.renew(A, ["u1"], True, False)
    watches.add(A, ["u5"])
    watches.remove(A, ["u1"])
    watches.renew(A, [], False, True)
    assert "u5" in watches
    watches.tell("u1")
    assert told(watches, A) == []


def test_a_last_slice_without_a_first_ends_nothing(watches: Watches) -> None:
    watches.renew(A, ["u3"], False, True)
    assert "u2" in watches and "u3" in watches


def test_an_empty_list_ends_all(watches: Watches) -> None:
    watches.renew(A, [], True, True)
    assert "u2" not in watches and "u1" in watches


def test_a_dropped_gateway_is_told_nothing(watches: Watches) -> None:
    watches.tell("u1")
    watches.drop(A)
    watches.tell("u1")
    assert told(watches, A) == []
    assert told(watches, B) == ["u1"]


def test_what_is_taken_is_bounded_and_the_rest_follows(watches: Watches) -> None:
    watches.add(A, [f"n{i}" for i in range(5)])
    for i in range(5):
        watches.tell(f"n{i}")
    assert watches.take(A, 3) == ["n0", "n1", "n2"]
    assert watches.take(A, 3) == ["n3", "n4"]


def test_one_gateway_is_told_only_of_whom_it_watches(watches: Watches) -> None:
    watches.tell_one(B, ["u1", "u2"])
    assert told(watches, B) == ["u1"]


def test_postponed_users_wait_for_resume_unless_they_are_told_first(watches: Watches) -> None:
    watches.postpone(A, ["u1", "u2"])
    assert told(watches, A) == []
    watches.tell("u1")
    assert told(watches, A) == ["u1"]
    watches.resume(A)
    assert told(watches, A) == ["u2"]
    watches.resume(A)
    assert told(watches, A) == []
