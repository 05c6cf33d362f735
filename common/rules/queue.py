"""Who waits for a match, and who of them play together: the longest waiting first.

    ticket   a party that stays together, with a rank
    range    how far other ranks may be from a ticket's; it widens while it waits
    match    as many teams, of as many players, as the mode says

The tickets are tried in the order of their age: each gets a match of those in *its* range if
there is one, the oldest of every size of party first. So the range of that one decides: younger
ones in its match need not have waited as long, and an older one, for whose range there was no
match, may be in it too. A ticket can be passed over by younger ones only while nothing in its
own range makes a match with it.

Source: docs/decisions/the-longest-waiting-decides-the-range.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate
from typing import NamedTuple

from common.rules.teams import LARGEST, Counts, compose


class Mode(NamedTuple):
    """One kind of match.

    Args:
        teams: of a match; 1 for a mere group.
        size: players of a team.
        start: how far ranks may be apart at first.
        growth: by how much more after each second of waiting.
        most: how far at most.
    """

    teams: int
    size: int = 1
    start: float = 50.0
    growth: float = 10.0
    most: float = 1_000.0

    @property
    def players(self) -> int:
        """Give the players of a match."""
        return self.teams * self.size

    def range(self, waited: float) -> float:
        """Give how far from its own a ticket's ranks may be after so many seconds."""
        return min(self.most, self.start + self.growth * max(0.0, waited))


class Ticket(NamedTuple):
    """A party that waits.

    Args:
        since: seconds.
        number: later ones have larger ones; decides between equally old tickets.
    """

    since: float
    number: int
    rank: float
    party: tuple[str, ...]


Teams = list[list[Ticket]]


class Queue:
    """The tickets of one mode."""

    def __init__(self, mode: Mode) -> None:
        if not (1 <= mode.teams <= LARGEST and 1 <= mode.size <= LARGEST):
            raise ValueError(f"{mode}: must have 1 to {LARGEST} teams of 1 to {LARGEST} players")
        if not (0 <= mode.start <= mode.most and mode.growth >= 0):
            raise ValueError(f"{mode}: the range must begin at 0 or more and not above its most")
        self.mode = mode
        self._by_age: list[Ticket] = []
        self._by_rank: list[tuple[float, int, Ticket]] = []

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, ticket: Ticket) -> None:
        """Put a ticket where its age puts it; one that was in a match that failed keeps its age."""
        insort(self._by_age, ticket)
        insort(self._by_rank, (ticket.rank, ticket.number, ticket))

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out."""
        del self._by_age[bisect_left(self._by_age, ticket)]
        del self._by_rank[bisect_left(self._by_rank, (ticket.rank, ticket.number))]

    def older(self, since: float) -> list[Ticket]:
        """Give the tickets that wait since before then, the oldest first."""
        return self._by_age[: bisect_left(self._by_age, (since,))]

    def step(self, now: float, limit: int) -> list[Teams]:
        """Make at most so many matches; their tickets are no longer here. Whose range decided is first.

        Costs little per ticket that gets none, and one pass over the queue for each match.
        """
        made: list[Teams] = []
        sums = self._sums()
        for anchor in list(self._by_age):
            if len(made) == limit:
                break
            if anchor not in self:
                continue
            low, high = self._window(anchor, now)
            counts = [upto[high] - upto[low] for upto in sums]
            counts[len(anchor.party) - 1] -= 1
            sizes = compose(tuple(counts), self.mode.teams, self.mode.size, len(anchor.party))
            if sizes is not None:
                made.append(self._take(anchor, sizes, low, high))
                sums = self._sums()
        return made

    def __contains__(self, ticket: Ticket) -> bool:
        place = bisect_left(self._by_age, ticket)
        return place < len(self._by_age) and self._by_age[place] == ticket

    def _sums(self) -> list[list[int]]:
        """For each size of party, how many of them are before each place in the order of ranks."""
        sizes = [len(ticket.party) for _, _, ticket in self._by_rank]
        return [
            list(accumulate((each == size for each in sizes), initial=0))
            for size in range(1, self.mode.size + 1)
        ]

    def _window(self, anchor: Ticket, now: float) -> tuple[int, int]:
        """Give from where to where, in the order of ranks, a ticket's range goes."""
        width = self.mode.range(now - anchor.since)
        low = bisect_left(self._by_rank, anchor.rank - width, key=lambda entry: entry[0])
        return low, bisect_right(self._by_rank, anchor.rank + width, key=lambda entry: entry[0])

    def _take(self, anchor: Ticket, sizes: tuple[Counts, ...], low: int, high: int) -> Teams:
        """Take the oldest parties of these sizes out, and put them into teams."""
        waiting: dict[int, list[Ticket]] = {}
        for ticket in sorted((entry[2] for entry in self._by_rank[low:high]), reverse=True):
            if ticket != anchor:
                waiting.setdefault(len(ticket.party), []).append(ticket)
        teams: Teams = [[waiting[size].pop() for size in team] for team in (sizes[0][1:], *sizes[1:])]
        teams[0].insert(0, anchor)
        for team in teams:
            for ticket in team:
                self.remove(ticket)
        return teams
