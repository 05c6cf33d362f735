from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.rules.queue import Mode, Queue, Ticket
from common.rules.teams import compose

DUEL = Mode(teams=2, start=50, growth=10, most=300)


def ticket(number: int, rank: float = 1_000, since: float = 0, size: int = 1) -> Ticket:
    return Ticket(since, number, rank, tuple(f"u{number}.{n}" for n in range(size)))


def queue_of(mode: Mode, *tickets: Ticket) -> Queue:
    queue = Queue(mode)
    for each in tickets:
        queue.add(each)
    return queue


def numbers(matches: list[list[list[Ticket]]]) -> list[list[list[int]]]:
    return [[[each.number for each in team] for team in teams] for teams in matches]


def test_two_of_like_rank_play_at_once():
    queue = queue_of(DUEL, ticket(1, 1_000), ticket(2, 1_050))
    assert numbers(queue.step(0, 9)) == [[[1], [2]]]
    assert len(queue) == 0


def test_the_range_widens_with_waiting_up_to_its_most():
    assert [DUEL.range(seconds) for seconds in (-1, 0, 10, 25, 1_000)] == [50, 50, 150, 300, 300]
    queue = queue_of(DUEL, ticket(1, 1_000), ticket(2, 1_160))
    assert queue.step(10.9, 9) == []
    assert numbers(queue.step(11.0, 9)) == [[[1], [2]]]


def test_beyond_the_most_nobody_plays():
    queue = queue_of(DUEL, ticket(1, 1_000), ticket(2, 1_301))
    assert queue.step(1e6, 9) == []


def test_the_range_of_the_longest_waiting_decides():
    queue = queue_of(DUEL, ticket(1, 1_000, since=0), ticket(2, 1_200, since=15))
    assert numbers(queue.step(15, 9)) == [[[1], [2]]]


def test_the_longest_waiting_is_served_first_and_gets_the_longest_waiting():
    queue = queue_of(DUEL, *(ticket(n, since=n) for n in (3, 1, 4, 2, 5)))
    assert numbers(queue.step(9, 9)) == [[[1], [2]], [[3], [4]]]
    assert len(queue) == 1


def test_one_nobody_fits_does_not_hold_up_the_others():
    queue = queue_of(DUEL, ticket(1, 5_000), ticket(2), ticket(3))
    assert numbers(queue.step(0, 9)) == [[[2], [3]]]


def test_parties_stay_together_in_a_team():
    queue = queue_of(Mode(2, 3), ticket(1, size=2), ticket(2, size=2), ticket(3), ticket(4))
    assert numbers(queue.step(0, 9)) == [[[1, 3], [2, 4]]]


def test_a_party_that_fits_with_nobody_waits_on():
    queue = queue_of(Mode(2, 4), *(ticket(n, size=3) for n in range(8)))
    assert queue.step(0, 9) == []
    queue.add(ticket(8))
    queue.add(ticket(9))
    assert numbers(queue.step(0, 9)) == [[[0, 8], [1, 9]]]


def test_no_more_matches_are_made_at_once_than_wanted():
    queue = queue_of(DUEL, *(ticket(n) for n in range(9)))
    assert len(queue.step(0, 3)) == 3
    assert len(queue.step(0, 3)) == 1


def test_one_that_is_taken_out_plays_with_nobody():
    queue = queue_of(DUEL, ticket(1), ticket(2), ticket(3))
    queue.remove(ticket(2))
    assert ticket(2) not in queue
    assert numbers(queue.step(0, 9)) == [[[1], [3]]]


def test_the_oldest_are_told_apart():
    queue = queue_of(DUEL, ticket(1, since=1), ticket(2, since=2), ticket(3, since=3))
    assert [each.number for each in queue.older(3)] == [1, 2]


WRONG = {
    "no teams": Mode(0),
    "too large": Mode(2, 17),
    "a range that shrinks": Mode(2, growth=-1),
    "a range above its most": Mode(2, start=9, most=8),
}


@pytest.mark.parametrize("mode", WRONG.values(), ids=WRONG)
def test_a_mode_nobody_can_play_is_refused(mode: Mode):
    with pytest.raises(ValueError, match="must"):
        Queue(mode)


modes = st.builds(
    Mode, st.integers(1, 3), st.integers(1, 3), st.just(20.0), st.sampled_from([0.0, 5.0]), st.just(100.0)
)


@st.composite
def queues(draw, mode: Mode) -> list[Ticket]:
    rows = draw(
        st.lists(st.tuples(st.integers(0, 150), st.integers(0, 20), st.integers(1, mode.size)), max_size=9)
    )
    return [ticket(number, rank, since, size) for number, (rank, since, size) in enumerate(rows)]


def in_range(mode: Mode, anchor: Ticket, other: Ticket, now: float) -> bool:
    return abs(other.rank - anchor.rank) <= mode.range(now - anchor.since)


def playable(mode: Mode, anchor: Ticket, others: list[Ticket], now: float) -> bool:
    """Try every choice of others: does one make a match within the range of `anchor`?"""
    near = [each for each in others if in_range(mode, anchor, each, now)]
    for many in range(len(near) + 1):
        for chosen in combinations(near, many):
            if sum(len(each.party) for each in (anchor, *chosen)) != mode.players:
                continue
            counts = tuple(sum(len(e.party) == n + 1 for e in chosen) for n in range(mode.size))
            if compose(counts, mode.teams, mode.size, len(anchor.party)) is not None:
                return True
    return False


def test_an_older_ticket_without_a_match_of_its_own_plays_in_that_of_a_younger_one():
    mode = Mode(teams=2, size=2, start=20.0, growth=0.0, most=100.0)
    tickets = [ticket(number, rank, 0, 1) for number, rank in enumerate((0, 0, 1, 21))]
    [teams] = queue_of(mode, *tickets).step(20.0, 99)
    assert teams[0][0] == tickets[2]
    assert sorted(each for team in teams for each in team) == tickets


@given(modes, st.data())
@settings(deadline=None)
def test_matches_are_whole_fair_and_all_that_can_be_made(mode: Mode, data):
    tickets, now = data.draw(queues(mode)), 20.0
    left = sorted(tickets)
    for teams in queue_of(mode, *tickets).step(now, 99):
        assert [sum(len(each.party) for each in team) for team in teams] == [mode.size] * mode.teams
        played = [each for team in teams for each in team]
        assert len(set(played)) == len(played)
        assert set(played) <= set(left), "nobody plays twice"
        anchor = teams[0][0]
        assert all(in_range(mode, anchor, each, now) for each in played)
        for passed in left[: left.index(anchor)]:
            assert not playable(mode, passed, [each for each in left if each != passed], now)
        left = [each for each in left if each not in played]
    for each in left:
        assert not playable(mode, each, [other for other in left if other != each], now)


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=60), st.integers(0, 2_000))
@settings(deadline=None, max_examples=50)
def test_who_has_waited_long_enough_plays_as_soon_as_those_before_him_have(ranks: list[int], rank: int):
    """One comes each second; whoever's range covers all is passed over by no younger one."""
    mode = Mode(2, start=50, growth=100, most=2_000)
    saturated = (mode.most - mode.start) / mode.growth
    queue = queue_of(mode, ticket(0, rank))
    waiting = {0: 0.0}
    for second, other in enumerate(ranks, start=1):
        queue.add(ticket(second, other, since=second))
        waiting[second] = second
        for teams in queue.step(second, 99):
            for team in teams:
                for each in team:
                    del waiting[each.number]
        overdue = [number for number, since in waiting.items() if second - since >= saturated]
        assert len(overdue) <= 1, "two whose ranges cover all would have played each other"
        assert not (overdue and len(waiting) > 1), "and one would have played anybody"
