from __future__ import annotations

from loadtest.flock.returning import BASE, LONGEST, TRIES, Returning


def test_the_first_delay_is_short_and_no_delay_is_longer_than_the_longest() -> None:
    returning = Returning()
    returning.add(4, 100.0)
    assert returning.next(99.9) is None
    assert returning.next(100.0 + BASE) == 4
    for _ in range(TRIES - 1):
        assert returning.add(4, 0.0)
        assert returning.next(LONGEST) == 4
    assert not returning.add(4, 0.0)


def test_who_has_arrived_begins_anew() -> None:
    returning = Returning()
    for _ in range(20):
        returning.add(1, 0.0)
        returning.next(LONGEST)
    returning.arrived(1)
    returning.add(1, 0.0)
    assert returning.next(BASE) == 1
