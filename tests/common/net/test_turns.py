from __future__ import annotations

from time import monotonic

import gevent
import pytest

from common.net import turns
from common.net.pace import SLICE_SECONDS
from common.net.turns import Turns


def busy(seconds: float) -> None:
    until = monotonic() + seconds
    while monotonic() < until:
        pass


@pytest.mark.parametrize("peers", [1, 60])
def test_however_many_peers_are_busy_the_loop_gets_to_its_timers(peers: int) -> None:
    """In each round of the loop no more slices begin than fit the budget."""
    shared, loop = Turns(), gevent.get_hub().loop
    begun: dict[int, int] = {}

    def peer() -> None:
        for _ in range(3):
            shared.begin()
            begun[loop.iteration] = begun.get(loop.iteration, 0) + 1
            busy(SLICE_SECONDS)
            shared.end()
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(peer) for _ in range(peers)], raise_error=True)
    assert sum(begun.values()) == 3 * peers
    assert max(begun.values()) <= turns.ROUND / SLICE_SECONDS


def test_who_waited_for_a_round_goes_before_who_had_one() -> None:
    shared = Turns()
    order: list[int] = []

    def peer(number: int) -> None:
        for _ in range(2):
            shared.begin()
            order.append(number)
            busy(turns.ROUND)
            shared.end()
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(peer, number) for number in range(4)], raise_error=True)
    assert sorted(order[:4]) == [0, 1, 2, 3]
