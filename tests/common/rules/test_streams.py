from __future__ import annotations

import pytest

from common.rules.streams import Stream, Verdict
from common.wire.batch import Header

A, B = "gateway-0", "world-0"
OLD, NOW, NEW = "01-old", "02-now", "03-new"


def initiator() -> Stream:
    return Stream(A, B)


def follower() -> Stream:
    return Stream(B, A)


def header(
    session: int, number: int, sender: tuple[str, int] = (NOW, 1), receiver: tuple[str, int] = (NOW, 1)
) -> Header:
    return Header("", *sender, *receiver, session, number)


def receive(stream: Stream, *args: object, **kwargs: object) -> Verdict:
    return stream.receive(header(*args, **kwargs), NOW, 1)  # type: ignore[arg-type]


def opened(stream: Stream) -> Stream:
    """Bring a fresh stream into session 1, both first batches received."""
    receive(stream, 0, 0)
    receive(stream, 1, 0)
    assert stream.open and stream.session == 1
    return stream


def state(stream: Stream) -> tuple[bool, int]:
    return stream.open, stream.session


NOBODY = ("", 0)
# what arrives in session 1, number 1 awaited -> verdict, (open, session) after it
FOR_THE_FOLLOWER = {
    "the next batch": ((1, 1), {}, Verdict.NEXT, (True, 1)),
    "a missing batch": ((1, 2), {}, Verdict.BROKEN, (False, 1)),
    "a batch once more": ((1, 0), {}, Verdict.BROKEN, (False, 1)),
    "the next session": ((2, 0), {}, Verdict.NEW, (True, 2)),
    "a session far ahead": ((9, 0), {}, Verdict.NEW, (True, 9)),
    "the next session without its beginning": ((2, 1), {}, Verdict.BROKEN, (False, 2)),
    "a hello: the initiator ended it": ((0, 0), {}, Verdict.BROKEN, (False, 1)),
    "an older incarnation": ((2, 0), {"sender": (OLD, 9)}, Verdict.STALE, (True, 1)),
    "an older term": ((1, 1), {"sender": (NOW, 0)}, Verdict.STALE, (True, 1)),
    "late, for our older incarnation": ((1, 1), {"receiver": (OLD, 1)}, Verdict.HELLO, (True, 1)),
    "late, for our older term": ((1, 1), {"receiver": (NOW, 0)}, Verdict.HELLO, (True, 1)),
    "a hello that does not know us": ((0, 0), {"receiver": NOBODY}, Verdict.HELLO, (True, 1)),
    "a new incarnation that does not know us": (
        (0, 0),
        {"sender": (NEW, 1), "receiver": NOBODY},
        Verdict.BROKEN,
        (False, 0),
    ),
    "a new incarnation that knows us": ((1, 0), {"sender": (NEW, 1)}, Verdict.NEW, (True, 1)),
    "a new incarnation's later batch": ((1, 3), {"sender": (NEW, 1)}, Verdict.BROKEN, (False, 1)),
    "a new term's hello": ((0, 0), {"sender": (NOW, 2)}, Verdict.BROKEN, (False, 0)),
    "a new term in the old session": ((1, 1), {"sender": (NOW, 2)}, Verdict.BROKEN, (False, 1)),
}
FOR_THE_INITIATOR = {
    "the next batch": ((1, 1), {}, Verdict.NEXT, (True, 1)),
    "a missing batch": ((1, 2), {}, Verdict.BROKEN, (True, 2)),
    "another session": ((7, 0), {}, Verdict.DROP, (True, 1)),
    "a mere sign of life": ((0, 0), {}, Verdict.HELLO, (True, 1)),
    "the follower wants it ended": ((0, 1), {}, Verdict.BROKEN, (True, 2)),
    "the follower wanted an older one ended": ((0, 7), {}, Verdict.HELLO, (True, 1)),
    "an older incarnation": ((0, 1), {"sender": (OLD, 9)}, Verdict.STALE, (True, 1)),
    "late, for our older term": ((1, 1), {"receiver": (NOW, 0)}, Verdict.HELLO, (True, 1)),
    "a new incarnation that does not know us": (
        (0, 0),
        {"sender": (NEW, 1), "receiver": NOBODY},
        Verdict.BROKEN,
        (True, 2),
    ),
    "a new term": ((0, 1), {"sender": (NOW, 2)}, Verdict.BROKEN, (True, 2)),
    "a new term in the old session": ((1, 1), {"sender": (NOW, 2)}, Verdict.BROKEN, (True, 2)),
}


@pytest.mark.parametrize(
    ("numbers", "ends", "verdict", "after"), FOR_THE_FOLLOWER.values(), ids=FOR_THE_FOLLOWER.keys()
)
def test_what_a_follower_in_a_session_makes_of_a_batch(numbers, ends, verdict, after):
    stream = opened(follower())
    assert receive(stream, *numbers, **ends) is verdict
    assert state(stream) == after


@pytest.mark.parametrize(
    ("numbers", "ends", "verdict", "after"), FOR_THE_INITIATOR.values(), ids=FOR_THE_INITIATOR.keys()
)
def test_what_an_initiator_in_a_session_makes_of_a_batch(numbers, ends, verdict, after):
    stream = opened(initiator())
    assert receive(stream, *numbers, **ends) is verdict
    assert state(stream) == after


def test_the_smaller_name_initiates():
    assert initiator().initiates and not follower().initiates


def test_an_initiator_starts_a_session_with_whoever_it_hears_even_if_it_is_not_known_yet():
    stream = initiator()
    assert receive(stream, 0, 0, receiver=NOBODY) is Verdict.HELLO
    assert state(stream) == (True, 1)
    assert (stream.incarnation, stream.term) == (NOW, 1)
    assert not stream.peer_knows_us


def test_a_follower_waits_to_be_offered_a_session():
    stream = follower()
    assert receive(stream, 0, 0) is Verdict.HELLO
    assert state(stream) == (False, 0)


def test_batches_are_numbered_from_0_in_each_session_and_name_both_ends():
    stream = opened(initiator())
    first, second = (stream.next_header(A, NOW, 4) for _ in range(2))
    assert first == Header(A, NOW, 4, NOW, 1, 1, 0)
    assert second.number == 1
    receive(stream, 0, 1)
    assert stream.next_header(A, NOW, 4)[-2:] == (2, 0)


def test_a_hello_of_the_initiator_is_a_mere_sign_of_life_and_takes_no_number():
    stream = opened(initiator())
    stream.close()
    assert [stream.next_header(A, NOW, 1)[-2:] for _ in range(2)] == [(0, 0), (0, 0)]


def test_a_hello_of_the_follower_names_the_session_it_wants_ended():
    stream = opened(follower())
    stream.close()
    assert stream.next_header(B, NOW, 1)[-2:] == (0, 1)


def test_after_a_hole_nothing_of_the_session_is_valid():
    stream = opened(follower())
    receive(stream, 1, 2)
    assert receive(stream, 1, 1) is Verdict.DROP
    assert receive(stream, 1, 3) is Verdict.DROP


def test_a_closed_stream_of_an_initiator_begins_anew_at_the_first_sign_of_life():
    stream = opened(initiator())
    stream.close()
    assert receive(stream, 1, 1) is Verdict.DROP
    assert state(stream) == (True, 2)


def test_what_is_stale_is_no_sign_of_life():
    stream = opened(follower())
    assert [stream.look(), stream.look()] == [1, 2]
    receive(stream, 1, 1, sender=(OLD, 1))
    assert stream.look() == 3
    receive(stream, 1, 1)
    assert stream.look() == 1


def test_each_session_that_begins_is_counted():
    stream = opened(initiator())
    receive(stream, 0, 1)
    receive(stream, 0, 2)
    assert stream.begun == 3
