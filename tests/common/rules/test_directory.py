from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.directory import Directory, freshest

OLD, NEW = "0000000000000001-aaaaaaaa", "0000000000000002-00000000"


@pytest.fixture
def directory() -> Directory:
    return Directory(suspect_after=6, gone_after=12)


def renew(directory: Directory, incarnation: str = OLD, term: int = 1, state: str = "ready", now: float = 0):
    return directory.renew("world-0", incarnation, term, "ipc:///w", state, now)


def test_a_renewal_shows_in_the_snapshot_with_its_age(directory: Directory):
    assert renew(directory, now=100.0)
    assert directory.snapshot(101.5) == {"world-0": [OLD, 1, "ready", 1500]}
    assert directory.addresses() == {"world-0": "ipc:///w"}


def test_the_same_owner_may_change_its_state(directory: Directory):
    renew(directory, state="ready")
    assert renew(directory, state="draining")
    assert directory.state("world-0", 0) == "draining"


NEWER = {"incarnation": (NEW, 1), "term": (OLD, 6), "the same again": (OLD, 5)}


@pytest.mark.parametrize("incarnation, term", NEWER.values(), ids=NEWER)
def test_what_is_not_older_takes_the_name(directory: Directory, incarnation: str, term: int):
    renew(directory, OLD, 5)
    assert renew(directory, incarnation, term)
    assert directory.snapshot(0)["world-0"][:2] == [incarnation, term]


OLDER = {"incarnation": (OLD, 9), "term": (NEW, 4)}


@pytest.mark.parametrize("incarnation, term", OLDER.values(), ids=OLDER)
def test_what_is_older_is_refused_and_changes_nothing(directory: Directory, incarnation: str, term: int):
    renew(directory, NEW, 5, now=0)
    assert not renew(directory, incarnation, term, state="stopping", now=3)
    assert directory.snapshot(3) == {"world-0": [NEW, 5, "ready", 3000]}


SILENCE = {0: "ready", 5.9: "ready", 6: "suspect", 11.9: "suspect", 12: "gone", 1e6: "gone"}


@pytest.mark.parametrize("silent, state", SILENCE.items(), ids=str)
def test_silence_makes_suspect_then_gone(directory: Directory, silent: float, state: str):
    renew(directory, now=50)
    assert directory.state("world-0", 50 + silent) == state
    assert directory.snapshot(50 + silent)["world-0"][2] == state


def test_one_never_heard_is_gone_and_not_in_the_snapshot(directory: Directory):
    assert directory.state("world-0", 0) == "gone"
    assert directory.snapshot(0) == {}


def test_one_that_was_gone_comes_back_with_the_same_term(directory: Directory):
    renew(directory, now=0)
    assert directory.state("world-0", 100) == "gone"
    assert renew(directory, now=100)
    assert directory.state("world-0", 100) == "ready"


def test_a_refused_renewal_does_not_keep_the_name_alive(directory: Directory):
    renew(directory, NEW, now=0)
    renew(directory, OLD, now=11)
    assert directory.state("world-0", 12) == "gone"


@given(st.permutations([(incarnation, term) for incarnation in (OLD, NEW) for term in (1, 2, 3)]))
def test_in_any_order_the_newest_one_ends_up_as_owner(renewals):
    directory = Directory(6, 12)
    for incarnation, term in renewals:
        renew(directory, incarnation, term)
    assert directory.snapshot(0)["world-0"][:2] == [NEW, 3]


MERGES = {
    "one directory alone": ([["a", 1, "ready", 5]], ["a", 1, "ready", 5]),
    "the newer incarnation": ([["b", 1, "ready", 900], ["a", 7, "ready", 5]], ["b", 1, "ready", 900]),
    "the higher term": ([["a", 1, "ready", 5], ["a", 2, "suspect", 7000]], ["a", 2, "suspect", 7000]),
    "the one heard last": ([["a", 1, "gone", 20_000], ["a", 1, "ready", 5]], ["a", 1, "ready", 5]),
}


@pytest.mark.parametrize(("told", "newest"), MERGES.values(), ids=MERGES.keys())
def test_of_several_directories_each_name_is_taken_from_the_freshest(told, newest):
    snapshots = [{"world-0": row} for row in told]
    assert freshest(snapshots) == freshest(reversed(snapshots)) == {"world-0": newest}


def test_a_directory_that_knows_nobody_yet_hides_nothing():
    assert freshest([{"world-0": ["a", 1, "ready", 5]}, {}]) == {"world-0": ["a", 1, "ready", 5]}
