from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.peers.nats import Nats
from loadtest.peers.peer import payload
from loadtest.peers.topic import Topic

PING = b"PING\r\n"


def said(*numbers: int) -> bytes:
    return b"".join(b"MSG t 1 20\r\n%s\r\n" % payload(number, 20) for number in numbers)


class Scene:
    """A topic of subscribers 0, 1, 2 …, and what they had to write."""

    def __init__(self, subscribers: int = 2) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.topic = Topic(Nats().frame, lambda subscriber, words: self.answers.append((subscriber, words)))
        for subscriber in range(subscribers):
            self.topic.add(subscriber)

    def publish(self, count: int) -> None:
        self.topic.due += [0] * count

    def read(self, subscriber: int, data: bytes, size: int = 1_000_000) -> list[int]:
        numbers: list[int] = []
        for at in range(0, len(data), size):
            numbers += self.topic.take(subscriber, data[at : at + size])
        return numbers

    @property
    def wrong(self) -> tuple[int, int, int]:
        return self.topic.missing, self.topic.repeats, self.topic.misordered


@pytest.mark.parametrize("size", [1, 7, 36, 1_000_000])
def test_each_subscriber_hears_each_message_once_however_its_bytes_are_cut(size: int) -> None:
    scene = Scene(3)
    for subscriber in range(3):
        assert scene.read(subscriber, said(*range(1, 8)), size) == list(range(1, 8))
    assert scene.topic.heard == 21
    assert scene.wrong == (0, 0, 0)


def test_bytes_that_are_known_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.read(0, said(1, 2, 3))
    monkeypatch.setattr(scene.topic, "_cut", None)
    assert scene.read(1, said(1, 2, 3), 5) == [1, 2, 3]


def test_a_ping_is_answered_by_the_one_who_read_it_and_it_goes_on_as_before() -> None:
    scene = Scene()
    scene.read(0, said(1, 2, 3, 4))
    assert scene.read(1, said(1) + PING + said(2, 3), 4) == [1, 2, 3]
    assert scene.answers == [(1, b"PONG\r\n")]
    assert scene.read(1, said(4)) == [4]
    assert scene.wrong == (0, 0, 0)


WRONG = {
    "one is lost": ([1, 2, 4, 5], [1, 2, 4, 5], (1, 0, 0)),
    "the first are lost": ([3, 4], [3, 4], (2, 0, 0)),
    "one comes twice": ([1, 2, 2, 3], [1, 2, 3], (0, 1, 0)),
    "two are exchanged": ([1, 3, 2, 4], [1, 3, 4], (1, 0, 1)),
    "an old one comes again": ([1, 2, 3, 1, 4], [1, 2, 3, 4], (0, 0, 1)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("size", [1, 5, 1_000_000])
@pytest.mark.parametrize("is_first", [True, False], ids=["before the others", "behind the others"])
def test_what_is_wrong_is_counted_and_does_not_spoil_it_for_the_others(
    name: str, size: int, is_first: bool
) -> None:
    numbers, heard, wrong = WRONG[name]
    scene = Scene()
    if not is_first:
        scene.read(1, said(*range(1, 8)))
    assert scene.read(0, said(*numbers), size) == heard
    assert scene.wrong == wrong
    rest = list(range(numbers[-1] + 1, 8))
    assert scene.read(0, said(*rest), size) == rest
    if is_first:
        assert scene.read(1, said(*range(1, 8)), size) == list(range(1, 8))
    assert scene.wrong == wrong


def test_what_all_of_them_lose_is_counted_for_each() -> None:
    scene = Scene(3)
    for subscriber in range(3):
        assert scene.read(subscriber, said(1, 2, 4, 5)) == [1, 2, 4, 5]
    assert scene.wrong == (3, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60)), max_size=200), st.integers(0, 12))
def test_in_whatever_turns_they_read_all_hear_all(turns: Sequence[tuple[int, int]], count: int) -> None:
    scene, stream = Scene(3), said(*range(1, count + 1))
    at, heard = [0, 0, 0], [0, 0, 0]
    for subscriber, size in [*turns, (0, len(stream)), (1, len(stream)), (2, len(stream))]:
        data = stream[at[subscriber] : at[subscriber] + size]
        if data:
            heard[subscriber] += len(scene.topic.take(subscriber, data))
        at[subscriber] += len(data)
    assert heard == [count] * 3
    assert scene.wrong == (0, 0, 0)


def test_under_way_is_what_a_subscriber_has_still_to_hear_on_the_average() -> None:
    scene = Scene(2)
    scene.publish(4)
    assert scene.topic.under_way == 4
    scene.read(0, said(1, 2))
    assert scene.topic.under_way == 3
    scene.read(1, said(4))
    assert scene.topic.under_way == 1  # what was jumped over will not come
    scene.topic.drop(0)
    assert scene.topic.under_way == 0
    scene.publish(1)
    scene.topic.forgive()
    assert scene.topic.under_way == 0


def test_what_the_server_refuses_is_counted_by_its_words() -> None:
    scene = Scene(1)
    assert scene.read(0, b"-ERR 'Slow Consumer'\r\n+OK\r\n" + said(1)) == [1]
    assert scene.topic.refusals == {"-ERR 'Slow Consumer'": 1}
