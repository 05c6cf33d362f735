"""What a run has left on disk, as the judge wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadtest.torture.journal import count, rows
from loadtest.torture.judge import Message, Name, Receipt
from loadtest.torture.plan import Plan, uid_of


def sent(plan: Plan) -> Iterator[Message]:
    """Walk all messages of all senders."""
    for sender in plan.sender_names():
        begun: dict[tuple[str, int], Message] = {}
        for to, number, ms, *answer in rows(plan.sent_journal(sender)):
            if not answer:
                begun[to, number] = Message(sender, to, number, ms, uid=uid_of(sender))
                continue
            mid, tries = answer
            begun[to, number] = begun[to, number]._replace(mid=mid, acked_ms=ms, tries=tries)
        yield from begun.values()


def received(plan: Plan, uid: str, device: str) -> Iterator[Receipt]:
    """Walk what a device has, in its order."""
    for seq, mid, sender, data, gap, ms in rows(plan.journal(uid, device)):
        yield Receipt(seq, mid, sender, _name(data), gap, ms)


def is_complete(plan: Plan) -> bool:
    """Tell, quickly, whether all devices have as many messages as were sent to them."""
    begun = sum(1 for name in plan.sender_names() for row in rows(plan.sent_journal(name)) if len(row) == 3)
    have = sum(count(plan.journal(uid, device)) for uid, device in plan.devices())
    return have >= begun * plan.devices_each


def _name(data: Any) -> Name | None:
    if isinstance(data, list) and len(data) == 4 and isinstance(data[2], int):
        return str(data[0]), str(data[1]), data[2]
    return None
