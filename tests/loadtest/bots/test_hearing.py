from __future__ import annotations

import pytest

from loadtest.bots import hearing
from loadtest.bots.hearing import Decoder, packet

STATE = packet(
    "state", 0, {"map": "arena", "tick": 3, "enter": [[4, "player", 1, 2, None]], "move": [[5, 6, 7]]}
)
OK = packet("ok", 2, {"you": 4})


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_packets_are_cut_however_they_come(size: int):
    decoder, words, heard = Decoder(), STATE + OK + STATE, []
    for start in range(0, len(words), size):
        heard += decoder.take(1, words[start : start + size])
    assert [(one.op, one.id) for one in heard] == [("state", 0), ("ok", 2), ("state", 0)]
    assert heard[0].moves == {4: (1, 2), 5: (6, 7)}


def test_what_many_hear_is_decoded_once():
    decoder = Decoder()
    first, second = decoder.take(1, STATE), decoder.take(2, STATE + OK)
    assert first[0] is second[0]
    assert decoder.decoded == 2


def test_what_is_not_heard_again_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hearing, "REMEMBERED", 2)
    decoder = Decoder()
    packets = [packet("state", 0, {"map": "arena", "tick": tick}) for tick in range(50)]
    for words in packets:
        decoder.take(1, words)
        decoder.take(1, packets[0])
    assert decoder.decoded == 50, "the first one is heard all the time"
    decoder.take(1, packets[1])
    assert decoder.decoded == 51


def test_half_a_packet_of_one_that_has_gone_is_dropped():
    decoder = Decoder()
    decoder.take(1, STATE[:9])
    decoder.forget(1)
    assert [one.op for one in decoder.take(1, OK)] == ["ok"]
