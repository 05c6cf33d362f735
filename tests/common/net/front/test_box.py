from __future__ import annotations

from typing import Any

from common.net.front.box import Box, Letter, pack_letter, unpack_letter


def test_a_letter_comes_back_as_it_was_packed() -> None:
    letter = Letter("ann", b"\xa2hi", 1_700_000_000_000, True)
    assert unpack_letter(pack_letter(letter)) == letter


def test_the_welcome_is_said_once_with_the_positions() -> None:
    said: list[dict[str, Any] | None] = []
    box = Box(said.append)
    assert box.load(3, 7, True)
    assert not box.load(4, 8, False)
    assert said == [{"seq": 3, "bseq": 7, "gap": True}]
    assert (box.loaded, box.bseq_told, box.seq.sent, box.bseq.sent) == (True, 8, 4, 8)


def test_a_mailbox_that_cannot_be_read_is_greeted_without_positions_and_read_later() -> None:
    said: list[dict[str, Any] | None] = []
    box = Box(said.append)
    box.read_began()
    box.read_failed()
    assert box.greet(None)
    assert box.wants_read
    assert not box.load(3, 7, False)
    assert said == [None]


def test_until_the_positions_are_known_one_read_is_wanted() -> None:
    box = Box(None)
    assert box.wants_read
    box.read_began()
    assert not box.wants_read
    box.load(0, 0, False)
    box.read_ended(0, 0, more=False)
    assert not box.wants_read
