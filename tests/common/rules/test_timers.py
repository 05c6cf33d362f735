from __future__ import annotations

from typing import Any

from common.rules.timers import Timer, Timers


class Book:
    """Timers, and what they have done."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.done: list[Any] = []

    def add(self, due: float, name: str, every: float = 0.0) -> Timer:
        timer = Timer(every, self.done.append, (name,))
        self.timers.add(due, timer)
        return timer

    def at(self, now: float) -> list[Any]:
        """Do what is due; give what that was."""
        for timer in self.timers.due(now):
            timer.fire()
        done = self.done.copy()
        self.done.clear()
        return done


def test_what_is_due_comes_in_order_and_once() -> None:
    book = Book()
    book.add(2.0, "b")
    book.add(1.0, "a")
    book.add(2.0, "c")
    assert book.at(0.9) == []
    assert book.at(2.0) == ["a", "b", "c"]
    assert book.at(9.0) == []


def test_what_is_done_again_and_again_keeps_its_phase_and_comes_once_after_a_standstill() -> None:
    book = Book()
    book.add(1.0, "beat", every=1.0)
    assert book.at(1.1) == ["beat"]
    assert book.at(4.5) == ["beat"]
    assert book.at(4.9) == []
    assert book.at(5.0) == ["beat"]


def test_a_cancelled_timer_does_nothing_even_from_within() -> None:
    book = Book()
    later = book.add(2.0, "later")
    book.add(1.0, "x").cancel()
    beat = book.add(1.0, "beat", every=1.0)
    for timer in book.timers.due(2.0):
        timer.fire()
        later.cancel()
        beat.cancel()
    assert book.done == ["beat"]
    book.done.clear()
    assert book.at(9.0) == []


def test_a_timer_set_by_a_timer_comes_at_once_if_it_is_due() -> None:
    book = Book()
    book.timers.add(1.0, Timer(0.0, book.add, (1.5, "second")))
    assert book.at(2.0) == ["second"]


class Old:
    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self) -> None:
        self.rung.append("old")


class New(Old):
    def ring(self) -> None:
        self.rung.append("new")


def test_timers_of_an_owner_that_became_another_call_its_present_functions() -> None:
    owner, other, timers = Old(), Old(), Timers()
    timers.add(1.0, Timer(0.0, owner.ring, ()))
    timers.add(1.0, Timer(0.0, other.ring, ()))
    owner.__class__ = New
    timers.rebind(owner)
    for timer in timers.due(1.0):
        timer.fire()
    assert (owner.rung, other.rung) == (["new"], ["old"])
