from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadPacket, PacketTooLarge
from common.wire.framing import cut, frame
from tests.common.wire.feeding import feed

LIMIT = 1000


@given(st.lists(st.binary(min_size=1, max_size=300)), st.integers(0, 3))
def test_packets_come_out_as_they_went_in_however_the_bytes_are_cut(bodies: list[bytes], tail: int) -> None:
    stream = b"".join(map(frame, bodies))
    assert feed(stream, LIMIT, tail=b"\0" * tail) == (bodies, b"\0" * tail)


def test_a_half_packet_is_left_whole() -> None:
    assert cut(frame(b"one") + b"\0\0\0\5ab", LIMIT) == ([b"one"], b"\0\0\0\5ab")


@pytest.mark.parametrize("stream", [b"", frame(b"a"), frame(b"a") + frame(b"b")])
def test_nothing_left_is_the_one_empty_bytes(stream: bytes) -> None:
    assert cut(stream, LIMIT)[1] is b""  # noqa: F632


def test_a_packet_of_the_limit_passes() -> None:
    assert feed(frame(b"a" * LIMIT), LIMIT) == ([b"a" * LIMIT], b"")


@pytest.mark.parametrize("size", [LIMIT + 1, 2**32 - 1])
def test_a_larger_one_is_refused_from_its_length_alone(size: int) -> None:
    with pytest.raises(PacketTooLarge) as caught:
        feed(struct.pack(">I", size), LIMIT)
    assert caught.value.facts == {"size": size, "limit": LIMIT}


def test_a_larger_one_that_arrived_whole_is_refused_too() -> None:
    with pytest.raises(PacketTooLarge):
        cut(frame(b"a" * (LIMIT + 1)), LIMIT)


def test_a_packet_of_no_bytes_is_bad() -> None:
    with pytest.raises(BadPacket) as caught:
        feed(b"\0\0\0\0", LIMIT)
    assert type(caught.value) is BadPacket


@pytest.mark.parametrize("bad", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_packets_in_front_of_a_bad_length_are_still_served(bad: bytes) -> None:
    bodies, rest = cut(frame(b"one") + frame(b"two") + bad, LIMIT)
    assert (bodies, rest) == ([b"one", b"two"], bad)
    with pytest.raises(BadPacket):
        cut(rest, LIMIT)
