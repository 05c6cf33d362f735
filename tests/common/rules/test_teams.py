from __future__ import annotations

from collections import Counter
from itertools import combinations, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.teams import compose

CASES = {
    "two singles": ((1,), 2, 1, 1, ((1,), (1,))),
    "nobody else": ((0,), 2, 1, 1, None),
    "a group of one": ((0,), 1, 1, 1, ((1,),)),
    "a party fills a team": ((0, 1), 2, 2, 2, ((2,), (2,))),
    "a party and two singles": ((2, 0), 2, 2, 2, ((2,), (1, 1))),
    "a party cannot be split": ((0, 0, 2, 0), 2, 4, 3, None),
    "large ones first would not do": ((0, 3, 1, 0, 0), 2, 5, 3, ((3, 2), (3, 2))),
    "larger than a team": ((9,), 2, 1, 2, None),
}


@pytest.mark.parametrize(("counts", "teams", "size", "first", "found"), CASES.values(), ids=CASES)
def test_teams_of_whole_parties(counts, teams, size, first, found):
    assert compose(counts, teams, size, first) == found


def by_force(parties: list[int], teams: int, size: int) -> bool:
    """Try every choice of parties in every order: do some fill team after team exactly?"""
    for many in range(len(parties) + 1):
        for chosen in set(combinations(parties, many)):
            if sum(chosen) != teams * size:
                continue
            for order in set(permutations(chosen)):
                filled, ends = 0, set()
                for party in order:
                    filled += party
                    ends.add(filled)
                if all(size * (n + 1) in ends for n in range(teams)):
                    return True
    return False


@given(st.integers(1, 3), st.integers(1, 4), st.data())
def test_teams_are_found_when_and_only_when_there_are_some(teams: int, size: int, data):
    first = data.draw(st.integers(1, size))
    others = data.draw(st.lists(st.integers(1, size), max_size=5))
    sizes = Counter(others)
    found = compose(tuple(sizes[n + 1] for n in range(size)), teams, size, first)
    if found is None:
        possible = [
            rest
            for many in range(len(others) + 1)
            for rest in set(combinations(others, many))
            if by_force([first, *rest], teams, size) and sum(rest) + first == teams * size
        ]
        assert not possible
        return
    assert [sum(team) for team in found] == [size] * teams
    used = Counter(party for team in found for party in team)
    used[first] -= 1
    assert found[0][0] == first
    assert not used - sizes


def test_a_search_without_end_is_given_up():
    counts = (0, 0, 0, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0)
    assert compose(counts, 16, 16, 15) is None
