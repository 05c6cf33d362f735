"""A judge that cannot say guilty proves nothing: each breach of a promise is shown to it once."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.torture.judge import Judge, Message, Receipt, Verdict
from loadtest.torture.plan import KINDS

FIVE = {kind: 2 for kind in KINDS}
"""Twelve kills, each kind twice: what a minute needs."""


def message(number: int, mid: int | None = None, **more: Any) -> Message:
    """Message `number` of s0 to u0; its mid is 100 + number."""
    mid = 100 + number if mid is None else mid
    return Message("s0", "u0", number, 1_000, mid, 1_010, 1, "s0")._replace(**more)


def receipt(number: int, **more: Any) -> Receipt:
    """What a device has of that message: seq is 10 × number."""
    return Receipt(10 * number, 100 + number, "s0", ("s0", "u0", number), False, 1_500)._replace(**more)


def judged(
    receipts: list[Receipt], sent: list[Message] | None = None, other: list[Receipt] | None = None
) -> Verdict:
    """Let device a have these, device b what is right unless `other` says what else."""
    judge = Judge([message(1), message(2), message(3)] if sent is None else sent)
    judge.device("u0", "a", receipts)
    judge.device("u0", "b", [receipt(1), receipt(2), receipt(3)] if other is None else other)
    return judge.run(60, FIVE, 1, 0, 1, 10)


RIGHT = [receipt(1), receipt(2), receipt(3)]


def test_what_arrived_once_and_in_order_passes() -> None:
    verdict = judged(RIGHT)
    assert verdict.passed
    assert (verdict.messages, verdict.acknowledged, verdict.received) == (3, 3, 6)
    assert verdict.delays_ms == [500] * 6


def test_the_first_message_id_of_all_is_an_answer_too() -> None:
    first = [message(1, mid=0)]
    assert judged([receipt(1, mid=0)], first, [receipt(1, mid=0)]).passed


def test_messages_of_two_senders_may_come_in_any_order() -> None:
    sent = [message(1), message(1, mid=201, sender="h0", uid="")]
    other = receipt(1, mid=201, uid="", name=("h0", "u0", 1))
    for pair in ([receipt(1), other._replace(seq=11)], [other._replace(seq=9), receipt(1)]):
        judge = Judge(sent)
        judge.device("u0", "a", pair)
        assert not +judge.verdict.faults


# what device a has -> what it must be blamed for
GUILTY: dict[str, tuple[list[Receipt], dict[str, int]]] = {
    "lost": ([receipt(1), receipt(3)], {"missing": 1}),
    "lost at the end": ([receipt(1), receipt(2)], {"missing": 1}),
    "nothing at all": ([], {"missing": 3}),
    "doubled under its number": ([receipt(1), receipt(1), receipt(2), receipt(3)], {"doubled": 1}),
    "doubled under a new number": ([*RIGHT, receipt(2, seq=40)], {"doubled": 1}),
    "swapped": ([receipt(2), receipt(1), receipt(3)], {"out of order": 2}),
    "swapped by a sender's number alone": (
        [receipt(2, seq=10), receipt(1, seq=20), receipt(3)],
        {"out of order": 1, "other number": 2},
    ),
    "number below the last": (
        [receipt(1), receipt(2), receipt(3, seq=15)],
        {"out of order": 1, "other number": 1},
    ),
    "another number than the other device": (
        [receipt(1), receipt(2), receipt(3, seq=31)],
        {"other number": 1},
    ),
    "invented": ([*RIGHT, receipt(4)], {"never sent": 1}),
    "of a sender who is none": ([*RIGHT, receipt(4, name=("s9", "u0", 1))], {"never sent": 1}),
    "another user's": ([*RIGHT, receipt(4, name=("s0", "u1", 1))], {"never sent": 1}),
    "data of nobody": ([*RIGHT, receipt(4, name=None)], {"never sent": 1}),
    "under another id": ([receipt(1), receipt(2, mid=999), receipt(3)], {"never sent": 1, "missing": 1}),
    "from another uid": ([receipt(1), receipt(2, uid="s1"), receipt(3)], {"never sent": 1, "missing": 1}),
    "without a number": ([receipt(1), receipt(2), receipt(3, seq=None)], {"never sent": 1, "missing": 1}),
    "a gap": ([receipt(1), receipt(2, gap=True), receipt(3)], {"trimmed": 1}),
    "a gap told at login": ([Receipt(None, 0, "", None, True, 0), *RIGHT], {"trimmed": 1}),
}


@pytest.mark.parametrize("case", GUILTY)
def test_every_breach_is_named(case: str) -> None:
    receipts, faults = GUILTY[case]
    sent = [message(1), message(2), message(3), message(1, mid=301, to="u1")]
    judge = Judge(sent)
    judge.device("u0", "b", RIGHT)
    judge.device("u0", "a", receipts)
    verdict = judge.run(60, FIVE, 1, 0, 1, 10)
    assert dict(+verdict.faults) == faults
    assert not verdict.passed
    assert len(verdict.examples) == sum(faults.values())


def test_a_message_that_was_never_acknowledged_fails_though_it_arrived() -> None:
    verdict = judged(RIGHT, [message(1), message(2), message(3)._replace(mid=None)])
    assert dict(+verdict.faults) == {"not acknowledged": 1}


def test_a_message_that_was_not_acknowledged_and_did_not_arrive_is_both() -> None:
    sent = [message(1), message(2)._replace(mid=None)]
    verdict = judged([receipt(1)], sent, [receipt(1)])
    assert dict(+verdict.faults) == {"not acknowledged": 1, "missing": 2}


# changes to a good run -> a piece of what it is failed for
RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "too few messages": ({"least_messages": 4}, "3 messages a minute, fewer than 4"),
    "too few messages for its length": ({"seconds": 120, "least_messages": 3}, "2 messages a minute"),
    "too few kills": ({"kills": FIVE, "seconds": 90}, "8.0 kills a minute, fewer than 10"),
    "a kind never killed": ({"kills": FIVE | {"world": 0}}, "no world was killed"),
    "a kind nobody knows of": ({"kills": {kind: 3 for kind in KINDS[1:]}}, "no gateway was killed"),
    "Redis never restarted": ({"redis": 0}, "Redis was restarted 0 times"),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_that_was_too_easy_fails(case: str) -> None:
    changes, words = RUNS[case]
    judge = Judge([message(1), message(2), message(3)])
    for device in "ab":
        judge.device("u0", device, RIGHT)
    good: dict[str, Any] = {
        "seconds": 60,
        "kills": FIVE,
        "redis": 1,
        "dropped": 0,
        "least_messages": 1,
        "least_kills": 10,
    }
    verdict = judge.run(**good | changes)
    assert not verdict.passed
    assert any(words in failure for failure in verdict.failures), verdict.failures


def test_what_mailboxes_say_they_dropped_counts_as_trimmed() -> None:
    judge = Judge([message(1)])
    judge.device("u0", "a", [receipt(1)])
    assert judge.run(60, FIVE, 1, 7, 1, 10).faults["trimmed"] == 1
