from __future__ import annotations

import pytest

from loadtest.peers.entering import Entering
from loadtest.peers.peer import Step, behind

STEPS = [Step(b"one", behind(b"ONE")), Step(b"", behind(b"TWO")), Step(b"three", behind(b"THREE"))]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_steps_are_taken_one_after_the_other_however_the_answers_are_cut(size: int) -> None:
    one = Entering(3, STEPS)
    assert one.connected() == b"one"
    words, answers = b"", b"..ONE.TWO.THREE"
    for at in range(0, len(answers), size):
        assert not one.is_in
        words += one.take(answers[at : at + size])
    assert (words, one.is_in, one.read) == (b"three", True, b"")


def test_what_comes_behind_the_last_answer_is_kept() -> None:
    one = Entering(3, STEPS[:1])
    one.connected()
    one.take(b"ONEmore")
    assert (one.is_in, one.read) == (True, b"more")


def test_without_steps_it_is_in_when_it_is_connected() -> None:
    one = Entering(3, [], publishes=True)
    assert not one.is_in
    assert one.connected() == b""
    assert one.is_in
