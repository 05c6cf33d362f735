from __future__ import annotations

from common.net.front.halfopen import HalfOpens
from common.net.metrics import Counters


class Arriving:
    """A client on its way in that remembers why it was kicked."""

    def __init__(self, book: HalfOpens, number: int, address: str) -> None:
        self.number = number
        self.address = address
        self.kicked = ""
        self._book = book
        book.add(self)

    def kick(self, code: str, reason: str) -> None:
        self.kicked = code
        self._book.discard(self)

    def close(self, why: str) -> None:
        self._book.discard(self)


def make(per_address: int) -> tuple[HalfOpens, Counters]:
    counters = Counters("test")
    counters.declare({"half_open_closed": "closed"})
    return HalfOpens(per_address, counters), counters


def test_the_oldest_of_a_crowded_address_goes_and_others_stay():
    book, counters = make(2)
    other = Arriving(book, 1, "b")
    crowd = [Arriving(book, number, "a") for number in (2, 3, 4)]
    assert [one.kicked for one in crowd] == ["idle", "", ""]
    assert list(book) == [other, *crowd[1:]]
    assert counters.half_open_closed == 1


def test_one_that_takes_its_time_to_end_is_not_counted_meanwhile():
    class Slow(Arriving):
        def kick(self, code: str, reason: str) -> None:
            self.kicked += code

    book, counters = make(2)
    crowd = [Slow(book, number, "a") for number in (1, 2, 3, 4, 5)]
    assert [one.kicked for one in crowd] == ["idle"] * 3 + [""] * 2
    assert (list(book), counters.half_open_closed) == (crowd[3:], 3)


def test_who_is_in_counts_no_more_and_may_be_taken_out_twice():
    book, _ = make(1)
    one = Arriving(book, 1, "a")
    book.discard(one)
    book.discard(one)
    assert (len(book), one in book) == (0, False)
    assert Arriving(book, 2, "a").kicked == ""
