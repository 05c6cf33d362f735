from __future__ import annotations

from typing import Any

import pytest

from loadtest.flock.ledger import Ledger
from loadtest.flock.members import HERE, Members
from loadtest.flock.packets import IN_ROOM, TO_ALL, TO_USER, Heard
from loadtest.flock.plan import Plan

PLAN = Plan(port=1, count=10, first=100, rooms=5)
WRONG = ("missing", "repeats", "order_errors")


def books() -> Ledger:
    ledger = Ledger(PLAN, Members(PLAN.count))
    ledger.joined(0, reply(offset=10))
    return ledger


def reply(offset: int, epoch: int = 1, messages: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"epoch": epoch, "offset": offset, "messages": [{"offset": one} for one in messages]}


def hear(ledger: Ledger, *offsets: int, slot: int = 0) -> dict[str, int]:
    for offset in offsets:
        heard = Heard("message", 0, {}, PLAN.room_number(slot), offset, IN_ROOM, 0, 1_000)
        ledger.message(slot, heard, 3_000)
    return {name: ledger.counts[name] for name in WRONG if ledger.counts[name]}


SEQUENCES: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "in order": ((11, 12, 13), {}),
    "two lost": ((11, 14), {"missing": 2}),
    "the first lost": ((12,), {"missing": 1}),
    "twice": ((11, 11, 12), {"repeats": 1}),
    "swapped": ((12, 11, 13), {"missing": 1, "order_errors": 1}),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_each_breach_of_a_rooms_order_is_counted_by_its_kind(name: str) -> None:
    offsets, wrong = SEQUENCES[name]
    assert hear(books(), *offsets) == wrong


def test_the_time_of_a_delivery_is_from_its_stamp_until_it_was_read() -> None:
    ledger = books()
    hear(ledger, 11)
    assert ledger.times["delivery"].summary()["max"] == pytest.approx(2.0, rel=0.02)


def test_a_message_of_another_room_is_an_error() -> None:
    ledger = books()
    ledger.message(0, Heard("message", 0, {}, 3, 11), 1)
    assert ledger.errors == {"a message of a room it is not in": 1}


REJOINS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "all that was missed": (reply(13, messages=(11, 12, 13)), {}),
    "nothing was missed": (reply(10), {}),
    "one is not there": (reply(13, messages=(11, 13)), {"missing": 1}),
    "nothing is there": (reply(13), {"missing": 3}),
    "not the newest": (reply(13, messages=(11, 12)), {"missing": 1}),
}


@pytest.mark.parametrize("name", REJOINS)
def test_what_a_rejoin_does_not_bring_is_missing(name: str) -> None:
    ledger = books()
    ledger.joined(0, REJOINS[name][0])
    assert {kind: ledger.counts[kind] for kind in WRONG if ledger.counts[kind]} == REJOINS[name][1]
    assert hear(ledger, REJOINS[name][0]["offset"] + 1) == REJOINS[name][1]


def test_another_epoch_is_counted_and_begins_anew() -> None:
    ledger = books()
    ledger.joined(0, reply(2, epoch=9))
    assert hear(ledger, 3) == {}
    assert ledger.counts["epochs"] == 1


def test_a_gap_is_missing_although_it_was_announced() -> None:
    ledger = books()
    ledger.gap(0, {"epoch": 1, "offset": 14})
    assert hear(ledger, 15) == {"missing": 4}


def broadcast(ledger: Ledger, *numbers: int) -> dict[str, int]:
    for number in numbers:
        ledger.inbox(0, Heard("inbox", 0, {}, kind=TO_ALL, number=number, sent=1), 2)
    return {name: ledger.counts[name] for name in WRONG if ledger.counts[name]}


BROADCASTS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "each once": ((1, 2, 3), {}),
    "twice": ((1, 1), {"repeats": 1}),
    "swapped": ((2, 1), {"order_errors": 1}),
    "begun before it came": ((4, 5), {}),
    "two lost": ((1, 4), {"missing": 2}),
}


@pytest.mark.parametrize("name", BROADCASTS)
def test_broadcasts_are_heard_once_and_in_order(name: str) -> None:
    numbers, wrong = BROADCASTS[name]
    assert broadcast(books(), *numbers) == wrong


def unicast(ledger: Ledger, number: int, slot: int = 0, **body: Any) -> None:
    ledger.inbox(slot, Heard("inbox", 0, body, kind=TO_USER, number=number, sent=1), 2)


def test_a_kept_message_repeated_under_its_number_is_dropped_as_a_client_does() -> None:
    ledger = books()
    unicast(ledger, 1, seq=50)
    unicast(ledger, 1, seq=50)
    assert (ledger.counts["unicasts"], ledger.counts["repeats"]) == (1, 0)


def test_the_same_message_under_another_number_is_a_repeat() -> None:
    ledger = books()
    unicast(ledger, 1, seq=50)
    unicast(ledger, 1, seq=51)
    unicast(ledger, 2)
    unicast(ledger, 2)
    assert (ledger.counts["unicasts"], ledger.counts["repeats"]) == (2, 2)


def test_who_has_not_heard_the_newest_of_its_room_is_behind() -> None:
    ledger = books()
    for slot in range(1, PLAN.count):
        ledger.joined(slot, reply(10))
    assert ledger.behind({"0": 10, "1": 10, "2": 10, "3": 10, "4": 12}) == 4


def test_a_report_gives_counts_for_good_and_times_once() -> None:
    ledger = books()
    hear(ledger, 11, 11)
    first, second = ledger.report(), ledger.report()
    assert first["counts"]["messages"] == second["counts"]["messages"] == 2
    assert first["counts"]["misplaced"] == 1
    assert sum(first["times"]["delivery"].values()) == 2
    assert second["times"] == {}


def test_clients_are_even_when_all_of_a_room_have_what_one_of_them_has() -> None:
    members = Members(PLAN.count)
    ledger = Ledger(PLAN, members)
    members.state[0] = members.state[5] = members.state[1] = HERE
    for slot in (0, 5, 1):  # 0 and 5 are of one room
        ledger.joined(slot, reply(offset=10))
    assert ledger.uneven() == 0
    hear(ledger, 11, 12, slot=0)
    assert ledger.uneven() == 2
    hear(ledger, 11, 12, slot=5)
    assert ledger.uneven() == 0


def test_an_answered_publish_nobody_has_heard_is_lacked_by_every_member() -> None:
    members = Members(PLAN.count)
    ledger = Ledger(PLAN, members)
    members.state[0] = members.state[5] = HERE
    for slot in (0, 5):
        ledger.joined(slot, reply(offset=10))
    ledger.published(0, 11)
    assert ledger.uneven() == 2


def test_a_broadcast_is_lacked_by_those_who_have_heard_one_before() -> None:
    members = Members(PLAN.count)
    ledger = Ledger(PLAN, members)
    members.state[0] = members.state[1] = members.state[2] = HERE
    for slot, number in ((0, 3), (1, 2)):
        ledger.inbox(slot, Heard("inbox", 0, {}, kind=TO_ALL, number=number, sent=1), 2)
    assert ledger.uneven() == 1
