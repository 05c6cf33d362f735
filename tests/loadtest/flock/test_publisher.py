from __future__ import annotations

from typing import Any

import msgpack
import pytest

from loadtest.flock.ledger import Ledger
from loadtest.flock.members import HERE, Members
from loadtest.flock.plan import Plan
from loadtest.flock.publisher import Publisher


def test_what_is_published_late_carries_the_time_at_which_it_was_due() -> None:
    plan, members, written = Plan(port=1, count=1, rooms_of=1), Members(1), []
    members.state[0] = HERE

    def write(slot: int, words: bytes) -> None:
        written.append(words)

    publisher = Publisher(plan, members, Ledger(plan, members), write)
    publisher.begin(10.0, 0, 100.0)
    due = publisher.due
    publisher.step(due + 0.05, lambda: 7_000_000)
    packet: Any = msgpack.unpackb(written[0][4:])
    assert packet[2]["data"][3] == pytest.approx(7_000_000 - 50_000, abs=2)
