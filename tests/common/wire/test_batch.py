from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadPacket
from common.wire.batch import Header, pack_batch, pack_event, pack_item, unpack_batch, unpack_event
from tests.common.wire.test_values import VALUES

HEADER = Header("gateway-0", "0005-01", 3, "", 1, 2, 2**40)
HEADERS = st.builds(
    Header, st.text(), st.text(), st.integers(0, 2**40), st.text(), *[st.integers(0, 2**53)] * 3
)
ITEMS = st.lists(
    st.builds(lambda kind, rest: [kind, *rest], st.text(max_size=5), st.lists(VALUES, max_size=3))
)


@given(HEADERS, ITEMS)
def test_a_batch_comes_back_as_it_was_sent(header: Header, items: list[list[Any]]) -> None:
    assert unpack_batch(pack_batch(header, [pack_item(item) for item in items])) == (header, items)


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 65_534, 65_535, 70_000])
def test_a_batch_takes_any_number_of_items(count: int) -> None:
    item = pack_item(["m", b"x"])
    header, items = unpack_batch(pack_batch(HEADER, [item] * count))
    assert header == HEADER
    assert items == [["m", b"x"]] * count


def test_one_item_goes_into_many_batches() -> None:
    item = pack_item(["m", {"a": 1}])
    for number in range(3):
        header = HEADER._replace(number=number)
        assert unpack_batch(pack_batch(header, [item])) == (header, [["m", {"a": 1}]])


def test_tuples_inside_an_item_arrive_as_lists() -> None:
    assert unpack_batch(pack_batch(HEADER, [pack_item(["m", (1, 2)])]))[1] == [["m", [1, 2]]]


@given(st.binary(max_size=300))
def test_an_event_gives_back_its_batch_and_is_one_of_zerorpc(batch: bytes) -> None:
    event = pack_event(batch)
    assert unpack_event(memoryview(event)) == batch
    assert msgpack.unpackb(event) == [{"v": 3}, "deliver", [batch]]


def test_an_event_as_zerorpc_itself_packs_it_is_read_too() -> None:
    assert unpack_event(msgpack.packb([{"message_id": b"1", "v": 3}, "deliver", [b"batch"]])) == b"batch"


@pytest.mark.parametrize("cut", [-1, 1])
def test_an_event_of_another_length_than_it_says_is_refused(cut: int) -> None:
    event = pack_event(b"batch")
    with pytest.raises(BadPacket):
        unpack_event(event[:cut] if cut < 0 else event + b"x")


NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "not msgpack": b"\xc1",
    "no array": msgpack.packb({"a": 1}),
    "empty array": msgpack.packb([]),
    "no header": msgpack.packb([1]),
    "short header": msgpack.packb([list(HEADER)[:-1]]),
    "long header": msgpack.packb([[*HEADER, 1]]),
    "sender is a number": msgpack.packb([[1, *HEADER[1:]]]),
    "number is true": msgpack.packb([[*HEADER[:-1], True]]),
    "item is a number": msgpack.packb([list(HEADER), 1]),
    "item is empty": msgpack.packb([list(HEADER), []]),
    "item has no kind": msgpack.packb([list(HEADER), [1]]),
    "bytes after it": pack_batch(HEADER, []) + b"\x00",
    "cut short": pack_batch(HEADER, [pack_item(["m"])])[:-1],
    "announces 2^32-1 items": b"\xdd\xff\xff\xff\xff",
    "10,000 deep": b"\x91" * 10_000,
    "map with number keys": msgpack.packb([list(HEADER), ["m", {1: 2}]]),
    "invalid UTF-8": b"\x91\xa1\xff",
}


@pytest.mark.parametrize("blob", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_a_bad_packet(blob: bytes) -> None:
    with pytest.raises(BadPacket):
        unpack_batch(blob)


@given(st.binary(max_size=100))
def test_random_bytes_raise_nothing_else(blob: bytes) -> None:
    with pytest.raises(BadPacket):
        unpack_batch(b"\x92" + blob)
