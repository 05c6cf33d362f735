from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rules.cache import Keep
from common.rules.room import (
    FIELD_BYTES,
    MASK,
    MESSAGE_OVERHEAD,
    REPLY_BYTES,
    REPLY_MESSAGES,
    Message,
    Room,
    weight,
)

KEY = "demo/plaza/lobby"
EPOCH = 1_000


def make_room(items: int = 1_000, size: int = 10**9, seconds: float = 100.0) -> Room:
    """Make an empty room that keeps so much."""
    return Room(KEY, Keep(items, size, seconds, "sequence"), EPOCH, 0, 0.0)


def say(
    room: Room, text: str | bytes = b"x", *, uid: str = "ann", key: str = "", now: float = 0.0
) -> Message:
    """Publish one message."""
    data = text if isinstance(text, bytes) else text.encode()
    message = Message(room.offset + 1, uid, key, data, 0)
    room.add(message, now)
    return message


def offsets(messages: list[Message]) -> list[int]:
    return [message.offset for message in messages]


def reply_bytes(messages: list[Message]) -> int:
    """Give what these messages take in a reply at most."""
    return sum(len(m.data) + len(m.uid) + len(KEY) + FIELD_BYTES for m in messages)


RECOVERIES: dict[str, tuple[tuple[int, int], int, tuple[bool, list[int], bool]]] = {
    "all that followed": ((EPOCH, 7), 300, (True, [8, 9, 10], False)),
    "nothing followed": ((EPOCH, 10), 300, (True, [], False)),
    "more than the limit": ((EPOCH, 6), 2, (True, [7, 8], True)),
    "exactly the limit": ((EPOCH, 8), 2, (True, [9, 10], False)),
    "the oldest kept is the next": ((EPOCH, 5), 300, (True, [6, 7, 8, 9, 10], False)),
    "one before the oldest is gone": ((EPOCH, 4), 300, (False, [6, 7, 8, 9, 10], False)),
    "from the beginning, which is gone": ((EPOCH, 0), 300, (False, [6, 7, 8, 9, 10], False)),
    "beyond the newest": ((EPOCH, 11), 300, (False, [6, 7, 8, 9, 10], False)),
    "another epoch": ((EPOCH - 1, 7), 300, (False, [6, 7, 8, 9, 10], False)),
    "another epoch, at the newest offset": ((EPOCH + 1, 10), 300, (False, [6, 7, 8, 9, 10], False)),
    "another epoch and a limit: the newest": ((0, 0), 2, (False, [9, 10], False)),
}


@pytest.mark.parametrize(("since", "limit", "wanted"), RECOVERIES.values(), ids=RECOVERIES)
def test_a_recovery_is_complete_or_says_that_it_is_not(
    since: tuple[int, int], limit: int, wanted: tuple[bool, list[int], bool]
) -> None:
    room = make_room(items=5)
    for _ in range(10):
        say(room)
    recovery = room.recover(*since, limit, 0.0)
    assert (recovery.recovered, offsets(recovery.messages), recovery.more) == wanted


def test_what_is_too_old_is_neither_recovered_nor_given() -> None:
    room = make_room(seconds=10.0)
    for now in range(6):
        say(room, now=now)
    assert room.recover(EPOCH, 1, 300, now=12.5).recovered is False
    assert offsets(room.recover(EPOCH, 1, 300, now=12.5).messages) == [4, 5, 6]
    assert offsets(room.recover(EPOCH, 3, 300, now=12.5).messages) == [4, 5, 6]
    assert offsets(room.newest(300, now=13.5).messages) == [5, 6]
    assert room.newest(300, now=99.0).messages == []
    assert room.recover(EPOCH, 6, 300, now=99.0) == (True, [], False)


def test_a_reply_ends_at_300_messages() -> None:
    room = make_room()
    for _ in range(400):
        say(room)
    recovery = room.recover(EPOCH, 50, 10_000, 0.0)
    assert (len(recovery.messages), recovery.more) == (REPLY_MESSAGES, True)
    assert recovery.messages[0].offset == 51
    newest = room.newest(10_000, 0.0).messages
    assert offsets(newest) == list(range(101, 401))


def test_a_reply_ends_at_256_kib_with_everything_a_message_takes_counted() -> None:
    room = make_room()
    each = 1_000 - FIELD_BYTES - len(KEY) - len("ann")
    for _ in range(300):
        say(room, b"x" * each)
    recovery = room.recover(EPOCH, 0, 300, 0.0)
    assert (len(recovery.messages), recovery.more) == (REPLY_BYTES // 1_000, True)
    assert offsets(room.newest(300, 0.0).messages)[0] == 300 - REPLY_BYTES // 1_000 + 1


def test_a_message_larger_than_a_reply_goes_alone() -> None:
    room = make_room()
    for _ in range(3):
        say(room, b"x" * (REPLY_BYTES + 1))
    assert offsets(room.recover(EPOCH, 0, 300, 0.0).messages) == [1]
    assert offsets(room.newest(300, 0.0).messages) == [3]


@given(
    sizes=st.lists(st.integers(0, 150_000), max_size=30),
    items=st.integers(0, 12),
    size=st.integers(0, 400_000),
    gaps=st.lists(st.integers(0, 5), min_size=30, max_size=30),
    since=st.integers(0, 35),
    same_epoch=st.booleans(),
    limit=st.integers(1, 12),
    later=st.integers(0, 15),
)
def test_no_partial_recovery_is_called_complete(
    sizes: list[int],
    items: int,
    size: int,
    gaps: list[int],
    since: int,
    same_epoch: bool,
    limit: int,
    later: int,
) -> None:
    room = make_room(items, size, seconds=20.0)
    now = 0
    for length, gap in zip(sizes, gaps, strict=False):
        now += gap
        say(room, b"x" * length, now=now)
    epoch, newest = (EPOCH if same_epoch else EPOCH + 1), len(sizes)
    reply = room.recover(epoch, since, limit, now + later)
    given_offsets = offsets(reply.messages)
    assert given_offsets == list(range(given_offsets[0], given_offsets[-1] + 1)) if given_offsets else True
    assert len(reply.messages) <= limit
    assert reply_bytes(reply.messages) <= REPLY_BYTES or len(reply.messages) == 1
    if reply.recovered:
        assert same_epoch
        assert since <= newest
        assert (given_offsets or [since + 1])[0] == since + 1
        assert reply.more == ((given_offsets or [since])[-1] < newest)
        asked, got = 0, list(given_offsets)
        while reply.more and asked < 40:
            reply = room.recover(epoch, got[-1] if got else since, limit, now + later)
            assert reply.recovered
            got += offsets(reply.messages)
            asked += 1
        assert got == list(range(since + 1, newest + 1))
    else:
        assert reply.more is False
        assert not given_offsets or given_offsets[-1] == newest


def test_a_key_counts_per_sender_while_the_message_is_kept() -> None:
    room = make_room(items=2)
    first = say(room, "a", key="k")
    assert room.repeated("ann", "k", 0.0) == first
    assert room.repeated("bob", "k", 0.0) is None
    assert room.repeated("ann", "other", 0.0) is None
    say(room, "b", uid="bob", key="k")
    say(room, "c")
    assert room.repeated("ann", "k", 0.0) is None
    assert room.repeated("bob", "k", 0.0) is not None


def test_messages_without_a_key_are_never_repeats() -> None:
    room = make_room()
    say(room, "a")
    assert room.repeated("ann", "", 0.0) is None


def test_a_message_counts_for_its_data_and_what_it_costs_to_keep() -> None:
    room = make_room()
    assert room.add(Message(1, "ann", "", b"x" * 50, 0), 0.0) == 50 + MESSAGE_OVERHEAD
    assert room.history.held_bytes == 50 + MESSAGE_OVERHEAD


def test_counts_are_absolute() -> None:
    room = make_room()
    room.set_members("gateway-0", 3, 1)
    room.set_members("gateway-0", 3, 1)
    room.set_members("gateway-1", 2, 2)
    room.set_members("gateway-0", 5, 0)
    assert (room.count, room.listening) == (7, 2)
    room.set_members("gateway-1", 0, 0)
    assert (room.count, room.listening, list(room.members)) == (5, 0, ["gateway-0"])


def test_a_gateway_without_members_has_no_listeners() -> None:
    room = make_room()
    room.set_members("gateway-0", 2, 2)
    room.set_members("gateway-0", 0, 2)
    assert (room.count, room.listening, room.members) == (0, 0, {})


GATEWAYS = st.sampled_from(["gateway-0", "gateway-1", "gateway-2"])
TOLD = st.lists(st.tuples(GATEWAYS, st.integers(0, 4), st.integers(0, 2), st.integers(0, 4)), max_size=40)


@given(told=TOLD, order=st.randoms(use_true_random=False))
def test_a_digest_is_the_sum_of_weights_whatever_the_order(
    told: list[tuple[str, int, int, int]], order: Any
) -> None:
    rooms = [Room(f"demo/plaza/{n}", Keep(1, 1, None, "sequence"), EPOCH, 0, 0.0) for n in range(5)]
    digests: dict[str, int] = {}
    newest: dict[tuple[str, int], tuple[int, int]] = {}
    for gateway, count, listening, number in told:
        change = rooms[number].set_members(gateway, count, listening)
        digests[gateway] = (digests.get(gateway, 0) + change) & MASK
        newest[gateway, number] = (count, listening)
    rows = list(newest.items())
    order.shuffle(rows)
    sums: dict[str, int] = {}
    for (gateway, number), counts in rows:
        sums[gateway] = (sums.get(gateway, 0) + weight(rooms[number].key, *counts)) & MASK
    assert digests == sums
    for number, room in enumerate(rooms):
        assert room.count == sum(counts[0] for (_, n), counts in newest.items() if n == number)


def test_weights_of_different_counts_and_rooms_differ() -> None:
    cases = [
        (room, count, listening) for room in "ab" for count in range(1, 30) for listening in range(count)
    ]
    assert len({weight(*case) for case in cases}) == len(cases)
    assert weight("a", 0, 0) == weight("b", 0, 3) == 0


def test_a_room_that_begins_anew_goes_on_after_the_offset_with_nothing_kept() -> None:
    room = make_room()
    room.set_members("gateway-0", 1, 0)
    say(room, key="k")
    room.begin(EPOCH + 1, 40)
    assert (room.epoch, room.offset, len(room.history), room.count) == (EPOCH + 1, 40, 0, 1)
    assert room.repeated("ann", "k", 0.0) is None
    assert say(room).offset == 41
    assert room.recover(EPOCH, 0, 300, 0.0).recovered is False


IDLE = {
    "empty for long": (0, 10.0, True),
    "empty, not for long": (0, 9.9, False),
    "somebody is in": (1, 99.0, False),
}


@pytest.mark.parametrize(("members", "now", "wanted"), IDLE.values(), ids=IDLE)
def test_a_room_is_idle_when_nobody_is_in_and_nothing_happened_for_long(
    members: int, now: float, wanted: bool
) -> None:
    room = make_room()
    room.set_members("gateway-0", members, 0)
    assert room.idle(now, 10.0) is wanted
