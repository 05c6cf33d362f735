"""One room: order, jumps, gaps, epochs."""

from __future__ import annotations

from typing import Any

import pytest
from scripted_peer import message

from roost_client.events import Event, Gap, Message, Missed, Rejoined
from roost_client.stream import HELD_MOST, RoomStream

ROOM = "plaza/lobby"


def stream(epoch: int = 1, offset: int = 0) -> RoomStream:
    return RoomStream(ROOM, epoch, offset, False, object())


def push(room: RoomStream, *offsets: int, skip: bool = False) -> list[Event]:
    events: list[Event] = []
    for offset in offsets:
        room.push(message(offset), events, skip)
    return events


def reply(offset: int, *offsets: int, epoch: int = 1, recovered: bool = True, more: bool = False) -> Any:
    found = [message(each) for each in offsets]
    return {"epoch": epoch, "offset": offset, "recovered": recovered, "messages": found, "more": more}


def seen(events: list[Event]) -> list[Any]:
    """Messages as their offset, what is missed as (first, last), others as they are."""
    found: list[Any] = []
    for event in events:
        match event:
            case Message(offset=offset):
                found.append(offset)
            case Missed(first=first, last=last):
                found.append((first, last))
            case _:
                found.append(event)
    return found


def test_pushes_in_order_are_delivered_at_once() -> None:
    room = stream()
    assert seen(push(room, 1, 2, 3)) == [1, 2, 3]
    assert room.position == (1, 3) and not room.behind


def test_an_offset_seen_before_is_dropped() -> None:
    room = stream(offset=5)
    assert push(room, 4, 5) == []
    assert seen(push(room, 6, 6)) == [6]


def test_a_jump_holds_what_follows_until_history_fills_it() -> None:
    room = stream()
    assert seen(push(room, 1, 4, 5)) == [1]
    assert room.behind and room.position == (1, 1)
    assert seen(room.history(reply(5, 2, 3, 4, 5))) == [2, 3, 4, 5]
    assert not room.behind
    assert seen(push(room, 6)) == [6]


def test_history_is_fetched_on_while_there_is_more() -> None:
    room = stream()
    push(room, 6)
    assert seen(room.history(reply(6, 1, 2, more=True))) == [1, 2]
    assert room.behind and room.position == (1, 2)
    assert seen(room.history(reply(6, 3, 4, 5, 6))) == [3, 4, 5, 6]
    assert not room.behind


def test_held_messages_follow_what_history_gave() -> None:
    room = stream()
    push(room, 3, 4, 5)
    assert seen(room.history(reply(3, 1, 2, 3))) == [1, 2, 3, 4, 5]


def test_a_second_jump_among_what_is_held_is_fetched_too() -> None:
    room = stream()
    push(room, 3, 4, 7, 8)
    assert seen(room.history(reply(4, 1, 2, 3, 4))) == [1, 2, 3, 4]
    assert room.behind
    assert seen(room.history(reply(8, 5, 6, 7, 8))) == [5, 6, 7, 8]


def test_what_history_no_longer_has_is_announced_before_what_follows() -> None:
    room = stream()
    push(room, 9)
    assert seen(room.history(reply(9, 7, 8, 9, recovered=False))) == [(1, 6), 7, 8, 9]


def test_an_empty_history_announces_everything_up_to_what_is_held() -> None:
    room = stream()
    push(room, 5, 6)
    assert seen(room.history(reply(4))) == [(1, 4), 5, 6]


def test_a_hole_in_a_history_reply_is_announced_not_hidden() -> None:
    room = stream()
    push(room, 4)
    assert seen(room.history(reply(5, 1, 5))) == [1, (2, 3), 4, 5]


def test_messages_beyond_what_may_be_held_are_fetched_again() -> None:
    room = stream()
    push(room, *range(2, HELD_MOST + 10))
    assert len(room.held) == HELD_MOST
    delivered = seen(room.history(reply(1, 1)))
    assert delivered == list(range(1, HELD_MOST + 2))
    assert room.behind


def test_a_gap_is_shown_and_what_it_speaks_of_is_fetched() -> None:
    room = stream(offset=3)
    assert room.gap(1, 7, "slow") == [Gap(ROOM, 1, 7, "slow")]
    assert room.behind
    assert seen(push(room, 8)) == []
    assert seen(room.history(reply(8, 4, 5, 6, 7, 8))) == [4, 5, 6, 7, 8]


def test_a_gap_that_speaks_of_nothing_new_asks_for_nothing() -> None:
    room = stream(offset=7)
    room.gap(1, 5, "lost")
    assert not room.behind and room.position == (1, 7)


def test_a_gap_with_another_epoch_counts_anew_from_zero() -> None:
    room = stream(offset=7)
    assert room.gap(2, 0, "epoch") == [Gap(ROOM, 2, 0, "epoch")]
    assert seen(push(room, 1)) == [1]
    assert room.position == (2, 1)


def test_the_new_epoch_may_have_messages_already() -> None:
    room = stream(offset=7)
    room.gap(2, 3, "epoch")
    assert room.behind and room.position == (2, 0)
    assert seen(room.history(reply(3, 1, 2, 3, epoch=2))) == [1, 2, 3]


def test_what_was_held_of_the_old_epoch_is_delivered_before_the_new_one() -> None:
    room = stream()
    push(room, 3)
    assert seen(room.gap(2, 0, "epoch")) == [(1, 2), 3, Gap(ROOM, 2, 0, "epoch")]


def test_an_answer_of_another_epoch_ends_the_wait_and_the_gap_moves_on() -> None:
    room = stream()
    push(room, 3)
    assert seen(room.history(reply(9, 8, 9, epoch=2))) == [(1, 2), 3]
    assert room.position == (1, 3) and not room.behind


def test_a_room_that_went_back_says_so() -> None:
    room = stream(offset=9)
    room.gap(1, 12, "lost")
    assert room.history(reply(4, 3, 4, recovered=False)) == [Gap(ROOM, 1, 4, "epoch")]
    assert room.position == (1, 4)


def test_a_skipped_message_is_not_held_but_remembered() -> None:
    room = stream()
    assert push(room, 1, 2, skip=True) == []
    assert room.behind and not room.held
    assert seen(push(room, 3)) == []
    assert seen(room.history(reply(3, 1, 2, 3))) == [1, 2, 3]


def test_a_recovered_rejoin_gives_what_was_said_meanwhile() -> None:
    room = stream(offset=3)
    events = room.rejoined({**reply(6, 4, 5, 6), "count": 2})
    assert seen(events) == [Rejoined(ROOM, 1, 6, True, 0, 2), 4, 5, 6]
    assert not room.behind


def test_a_recovered_rejoin_with_more_is_fetched_on() -> None:
    room = stream(offset=3)
    room.rejoined(reply(9, 4, 5, more=True))
    assert room.behind and room.position == (1, 5)


def test_a_rejoin_drops_what_was_held_because_the_reply_has_it() -> None:
    room = stream(offset=3)
    push(room, 6)
    assert seen(room.rejoined(reply(7, 4, 5, 6, 7)))[1:] == [4, 5, 6, 7]


NOT_RECOVERED: dict[str, tuple[Any, int | None, list[int], tuple[int, int]]] = {
    "too_old": (reply(20, 18, 19, 20, recovered=False), 7, [18, 19, 20], (1, 20)),
    "nothing_kept": (reply(20, recovered=False), 10, [], (1, 20)),
    "another_epoch": (reply(2, 1, 2, epoch=9, recovered=False), None, [1, 2], (9, 2)),
    "another_epoch_cut": (reply(8, 7, 8, epoch=9, recovered=False), None, [7, 8], (9, 8)),
    "went_back": (reply(4, 3, 4, recovered=False), None, [], (1, 4)),
    "overlapping": (reply(12, 9, 10, 11, 12, recovered=False), 0, [11, 12], (1, 12)),
}


@pytest.mark.parametrize("case", NOT_RECOVERED.values(), ids=NOT_RECOVERED.keys())
def test_a_rejoin_that_is_not_recovered_says_what_is_gone(
    case: tuple[Any, int | None, list[int], tuple[int, int]],
) -> None:
    answer, missed, delivered, position = case
    room = stream(offset=10)
    first, *rest = room.rejoined(answer)
    assert isinstance(first, Rejoined) and not first.recovered and first.missed == missed
    assert seen(rest) == delivered
    assert room.position == position and not room.behind


def test_an_own_join_without_since_begins_with_what_comes() -> None:
    room = stream(offset=3)
    push(room, 6)
    assert room.joined({"room": ROOM, "epoch": 1, "offset": 40, "messages": [], "more": False}) == []
    assert seen(push(room, 41)) == [41]


def test_an_own_join_with_more_goes_on_after_its_last_message() -> None:
    room = stream()
    found = room.joined(reply(9, 4, 5, more=True))
    assert [each.offset for each in found] == [4, 5]
    assert room.position == (1, 5) and room.behind


def test_giving_up_announces_and_delivers_what_is_there() -> None:
    room = stream()
    push(room, 3, 4, 9)
    assert seen(room.give_up()) == [(1, 2), 3, 4, (5, 9)]
    assert not room.behind
