from __future__ import annotations

import pytest

from common.errors import Unauthorized
from common.rules.tickets import UsedTickets

BEGAN = 1_000.0


@pytest.fixture
def tickets() -> UsedTickets:
    return UsedTickets(30, BEGAN)


def test_a_ticket_is_good_until_it_is_used(tickets: UsedTickets) -> None:
    tickets.check(("a", 1_040))
    tickets.check(("a", 1_040))
    tickets.use(("a", 1_040), 1_011)
    with pytest.raises(Unauthorized, match="used"):
        tickets.check(("a", 1_040))
    tickets.check(("b", 1_040))


def test_no_ticket_is_no_matter(tickets: UsedTickets) -> None:
    tickets.check(())
    tickets.use((), BEGAN)
    assert len(tickets) == 0


def test_a_ticket_from_before_the_process_began_may_have_been_used_and_is_refused(
    tickets: UsedTickets,
) -> None:
    tickets.check(("a", BEGAN + 30))
    with pytest.raises(Unauthorized, match="older"):
        tickets.check(("a", BEGAN + 29))


@pytest.mark.parametrize("used_at", range(1_000, 1_100, 7))
def test_a_used_ticket_is_known_for_as_long_as_it_would_hold_however_many_follow(
    tickets: UsedTickets, used_at: int
) -> None:
    ticket = ("x", used_at + 30)
    tickets.use(ticket, used_at)
    for second in range(used_at, used_at + 31):
        tickets.use((f"other {second}", second + 30), second)
        with pytest.raises(Unauthorized):
            tickets.check(ticket)


def test_what_is_long_over_is_forgotten(tickets: UsedTickets) -> None:
    for second in range(1_000, 3_000):
        tickets.use((f"{second}", second + 30), second)
        assert len(tickets) <= 63
