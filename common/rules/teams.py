"""Teams of whole parties: can so many parties of these sizes fill so many teams?

Sizes decide, not who it is; so the answer for a queue is found from a handful of counts
and remembered.
"""

from __future__ import annotations

from functools import lru_cache

Counts = tuple[int, ...]
"""How many parties there are of 1, 2, 3 … players."""
Teams = tuple[Counts, ...]
"""For each team, the sizes of its parties."""

REMEMBERED = 4_096
LARGEST = 16
"""Players of a team, and teams of a match, at most."""
LOOKS = 20_000
"""Dead ends after which a search gives up: a few ms. Teams of up to five never have so many."""


def compose(counts: Counts, teams: int, size: int, first: int) -> Teams | None:
    """Give parties for `teams` teams of exactly `size` players; None: there are no such.

    Args:
        counts: parties there are, besides one of `first` players, which is in the first team.

    Returns:
        The sizes of each team's parties, `first` at the very first place. None also where
        the search was given up, which only large teams of odd parties come to.
    """
    if not 1 <= first <= size:
        return None
    useful = tuple(min(count, teams * size // (n + 1)) for n, count in enumerate(counts[:size]))
    return _compose(useful, teams, size, first)


@lru_cache(maxsize=REMEMBERED)
def _compose(counts: Counts, teams: int, size: int, first: int) -> Teams | None:
    if sum((n + 1) * count for n, count in enumerate(counts)) < teams * size - first:
        return None
    parties = _fill(counts, teams, size, size - first, size - first, set())
    if parties is None:
        return None
    found: list[Counts] = []
    team: Counts = ()
    for party in (first, *parties):
        team += (party,)
        if sum(team) == size:
            found.append(team)
            team = ()
    return tuple(found)


def _fill(
    counts: Counts, teams: int, size: int, left: int, largest: int, failed: set[tuple[Counts, int, int, int]]
) -> Counts | None:
    """Give parties, team after team: `left` players for this one, of parties not above `largest`.

    The larger ones first, since smaller ones fit more easily; what failed once is not tried again.
    """
    if not left:
        if teams == 1:
            return ()
        teams, left, largest = teams - 1, size, size
    state = (counts, teams, left, largest)
    if state in failed:
        return None
    for party in range(min(left, largest, len(counts)), 0, -1):
        if counts[party - 1]:
            fewer = (*counts[: party - 1], counts[party - 1] - 1, *counts[party:])
            rest = _fill(fewer, teams, size, left - party, party, failed)
            if rest is not None:
                return (party, *rest)
        if len(failed) > LOOKS:
            return None
    failed.add(state)
    return None
