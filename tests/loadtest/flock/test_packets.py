from __future__ import annotations

import pytest

from common.wire.codec import decode, encode, inbox_frame, message_frame, pack
from loadtest.flock.packets import IN_ROOM, PING, PING_PACKET, TO_ALL, Decoder, Heard, packet, stamp

NOW = 1_700_000_000_000_000


def said(offset: int) -> bytes:
    return message_frame("plaza/bench.12", offset, "anna", pack(stamp(IN_ROOM, 0, NOW, 5)), NOW // 1000)


PONG = encode("pong", PING, {})
TOLD = inbox_frame(7, "", pack(stamp(TO_ALL, 3, NOW)), NOW // 1000)
JOINED = encode("ok", 2, {"room": "plaza/bench.12", "epoch": 1, "offset": 126, "messages": [], "count": 1})
STREAM = JOINED + b"".join(map(said, (127, 128, 129))) + PONG + TOLD


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_packets_come_out_the_same_however_they_are_cut_and_whoever_had_them_before(size: int) -> None:
    decoder = Decoder()
    for client in (1, 2):
        heard: list[Heard] = []
        for at in range(0, len(STREAM), size):
            heard += decoder.take(client, STREAM[at : at + size])
        assert [one.op for one in heard] == ["ok", "message", "message", "message", "pong", "inbox"]
        assert [(one.room, one.offset) for one in heard[1:4]] == [(12, 127), (12, 128), (12, 129)]
        assert (heard[1].kind, heard[1].sent) == (IN_ROOM, NOW)
        assert (heard[5].kind, heard[5].number, heard[5].sent) == (TO_ALL, 3, NOW)


def test_what_is_the_same_for_many_is_decoded_once() -> None:
    decoder = Decoder()
    burst = said(1) + said(2)
    assert decoder.take(1, burst)[0] is decoder.take(2, burst)[0]
    assert decoder.take(1, said(2))[0] is decoder.take(2, burst)[1]


def test_the_end_of_a_packet_is_not_taken_for_the_packet_it_looks_like() -> None:
    decoder = Decoder()
    decoder.take(1, PONG)
    frame = packet("inbox", 0, {"data": PONG})
    assert decoder.take(2, frame[: -len(PONG)]) == ()
    assert [one.op for one in decoder.take(2, PONG)] == ["inbox"]


def test_a_client_that_has_gone_leaves_nothing_behind() -> None:
    decoder = Decoder()
    decoder.take(1, said(1)[:9])
    decoder.forget(1)
    assert [one.op for one in decoder.take(1, PONG)] == ["pong"]


def test_a_gateway_reads_what_it_says() -> None:
    assert decode(PING_PACKET[4:]) == ("ping", PING, {})
    assert decode(packet("publish", 3, {"room": "plaza/a"})[4:]) == ("publish", 3, {"room": "plaza/a"})
