from __future__ import annotations

import pytest

from loadtest.bots import hearing
from loadtest.bots.hearing import Decoder, Heard, packet

STATE = packet(
    "state", 0, {"map": "arena", "tick": 3, "enter": [[4, "player", 1, 2, None]], "move": [[5, 6, 7]]}
)
OK = packet("ok", 2, {"you": 4})


def packets(decoder: Decoder, data: bytes) -> list[Heard]:
    return [one for heard in decoder.take(1, data) for one in heard.parts or (heard,)]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_packets_are_cut_however_they_come(size: int):
    decoder, words = Decoder(), STATE + OK + STATE
    heard = [
        one for start in range(0, len(words), size) for one in packets(decoder, words[start : start + size])
    ]
    assert [(one.op, one.id) for one in heard] == [("state", 0), ("ok", 2), ("state", 0)]
    assert heard[0].moves == {4: (1, 2), 5: (6, 7)}


def test_what_many_hear_is_decoded_once():
    decoder = Decoder()
    first, second = packets(decoder, STATE), packets(decoder, STATE + OK)
    assert first[0] is second[0]
    assert decoder.decoded == 2


def test_the_cells_of_a_tick_are_one_for_all_who_read_them():
    decoder = Decoder()
    other = packet("state", 0, {"map": "arena", "tick": 3, "cell": 9, "move": [[8, 1, 1]]})
    first, second = decoder.take(1, STATE + other), decoder.take(2, STATE + other)
    assert first[0] is second[0]
    assert (first[0].body, len(first[0].parts)) == ({"tick": 3}, 2)
    assert first[0].moves == {4: (1, 2), 5: (6, 7), 8: (1, 1)}


APART = {
    "another tick": packet("state", 0, {"map": "arena", "tick": 4}),
    "an ack": packet("state", 0, {"map": "arena", "tick": 3, "ack": 7}),
    "another op": OK,
}


@pytest.mark.parametrize("other", APART.values(), ids=APART)
def test_what_is_more_than_the_cells_of_a_tick_is_given_packet_by_packet(other: bytes):
    heard = Decoder().take(1, STATE + other)
    assert [one.parts for one in heard] == [(), ()]


def test_what_is_not_heard_again_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hearing, "REMEMBERED", 2)
    monkeypatch.setattr(hearing, "READS_REMEMBERED", 2)
    decoder = Decoder()
    states = [packet("state", 0, {"map": "arena", "tick": tick}) for tick in range(50)]
    for words in states:
        decoder.take(1, words)
        decoder.take(1, states[0])
    assert decoder.decoded == 50, "the first one is heard all the time"
    decoder.take(1, states[1])
    assert decoder.decoded == 51


def test_half_a_packet_of_one_that_has_gone_is_dropped():
    decoder = Decoder()
    decoder.take(1, STATE[:9])
    decoder.forget(1)
    assert [one.op for one in decoder.take(1, OK)] == ["ok"]
