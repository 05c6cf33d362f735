from __future__ import annotations

import pytest

from loadtest.peers.run import rounds
from loadtest.peers.size import Layout, Size


def test_sizes_are_changed_by_name() -> None:
    size = Size().changed(["peers=roost,nats", "rounds=2", "rates=[500]"])
    assert (size.peers, size.rounds, size.rates) == ("roost,nats", 2, [500])


def test_subscribers_stand_in_rooms_and_all_in_one() -> None:
    assert Size(subscribers=400, room=100).layouts == [Layout("rooms", 4, 100), Layout("one", 1, 400)]
    assert Size(subscribers=30, room=100).layouts[0] == Layout("rooms", 1, 30)


@pytest.mark.parametrize("word", ["rounds", "speed=3"])
def test_what_names_nothing_is_refused_with_the_names(word: str) -> None:
    with pytest.raises(ValueError, match="subscribers"):
        Size().changed([word])


def test_a_server_nobody_knows_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="no peer 'kafka'; there are roost, nats"):
        rounds(Size(peers="kafka"), print)
