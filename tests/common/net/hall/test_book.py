from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from common.net.hall.book import ROOM_BYTES, Book
from common.rules.room import MESSAGE_OVERHEAD
from common.settings import RoomRule
from tests.common.net.hall.recording import Clock, RecordingLinks, always, join, make_book, never, say

LOBBY, KEEP = "demo/plaza/lobby", "demo/plaza/keep.1"


def test_epochs_grow_even_when_many_rooms_begin_at_once(book: Book) -> None:
    before = time.time_ns() // 1000
    epochs = [book.room(f"demo/plaza/{n}").epoch for n in range(1_000)]
    assert epochs == sorted(set(epochs))
    assert before <= epochs[0] < epochs[-1] < 2**53


def test_a_durable_room_begins_unloaded(book: Book) -> None:
    assert book.room(KEEP).epoch == 0


def test_the_first_rule_that_fits_counts_for_every_product(links: RecordingLinks, clock: Clock) -> None:
    rules = (RoomRule("plaza/a*", history_items=1), RoomRule("plaza/*", history_items=2))
    book = make_book(links, clock, *rules)
    names = {
        "demo/plaza/ab": 1,
        "other/plaza/a": 1,
        "demo/plaza/keep.1": 2,
        "demo/arena/a": RoomRule().history_items,
    }
    assert {key: book.rule(book.room(key)).history_items for key in names} == names


def test_a_room_keeps_its_rule_when_it_begins_anew(book: Book) -> None:
    room = book.room(KEEP)
    book.begin(room, 5, 5)
    assert book.rule(room).durable


# what goes


def test_a_room_nobody_is_in_goes_after_its_idle_time(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, RoomRule("plaza/short", idle_seconds=10), RoomRule(idle_seconds=100))
    short, long = book.room("demo/plaza/short"), book.room(LOBBY)
    clock.now += 9
    book.sweep(never)
    assert list(book.rooms.values()) == [short, long]
    clock.now += 2
    book.sweep(never)
    assert list(book.rooms.values()) == [long]
    clock.now += 100
    book.sweep(never)
    assert not book.rooms
    assert book.held_bytes == 0


def test_a_room_that_comes_back_has_another_epoch(book: Book, clock: Clock) -> None:
    old = book.room(LOBBY).epoch
    clock.now += 601
    book.sweep(never)
    assert book.room(LOBBY).epoch > old


def test_a_room_with_members_stays_and_goes_so_long_after_the_last_left(book: Book, clock: Clock) -> None:
    room = join(book, LOBBY, gateway_0=1)
    clock.now += 5_000
    book.sweep(never)
    assert LOBBY in book.rooms
    book.set_members(room, "gateway-0", 0, 0)
    clock.now += 599
    book.sweep(never)
    assert LOBBY in book.rooms
    clock.now += 2
    book.sweep(never)
    assert LOBBY not in book.rooms


def test_use_puts_the_end_of_an_empty_room_off(book: Book, clock: Clock) -> None:
    room = book.room(LOBBY)
    clock.now += 400
    say(book, room)
    clock.now += 400
    book.sweep(never)
    assert LOBBY in book.rooms
    clock.now += 201
    book.sweep(never)
    assert LOBBY not in book.rooms


def test_a_room_something_is_under_way_in_stays_until_it_is_over(book: Book, clock: Clock) -> None:
    book.room(KEEP)
    clock.now += 601
    book.sweep(always)
    assert KEEP in book.rooms
    clock.now += 1
    book.sweep(never)
    assert KEEP not in book.rooms


def test_a_room_that_fills_and_empties_all_the_time_is_looked_at_once(book: Book, clock: Clock) -> None:
    room = book.room(LOBBY)
    for _ in range(1_000):
        book.set_members(room, "gateway-0", 1, 0)
        book.set_members(room, "gateway-0", 0, 0)
    assert len(book._idle) == 1


FOUR = 4 * ROOM_BYTES + 1_048_576


def test_above_the_memory_cap_the_rooms_unused_longest_give_way(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, RoomRule(history_bytes=10**9), memory_bytes=FOUR)
    rooms = [join(book, f"demo/plaza/{n}", gateway_0=1) for n in range(4)]
    for room in rooms:
        clock.now += 1
        say(book, room, b"x" * 300_000)
    clock.now += 1
    say(book, rooms[0])
    links.take()
    epochs = [room.epoch for room in rooms]
    book.sweep(never)
    assert [room.epoch > epoch for room, epoch in zip(rooms, epochs, strict=True)] == [
        False,
        True,
        False,
        False,
    ]
    assert (rooms[1].offset, len(rooms[1].history), rooms[1].count) == (0, 0, 1)
    assert links.take() == [("gateway-0", ["sync", "demo/plaza/1", rooms[1].epoch, 0])]
    assert book.held_bytes <= FOUR


def test_a_room_without_members_gives_way_whole(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, memory_bytes=FOUR)
    for n in range(4):
        say(book, book.room(f"demo/plaza/{n}"), b"x" * 300_000)
    book.sweep(never)
    assert list(book.rooms) == ["demo/plaza/1", "demo/plaza/2", "demo/plaza/3"]
    assert links.take() == []


def test_many_empty_rooms_count_and_give_way(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, memory_bytes=1_048_576)
    for n in range(2_000):
        book.room(f"demo/plaza/{n}")
    book.sweep(never)
    assert len(book.rooms) == 1_048_576 // ROOM_BYTES
    assert "demo/plaza/1999" in book.rooms


def test_a_durable_room_gives_its_memory_back_and_nobody_hears_of_it(
    links: RecordingLinks, clock: Clock
) -> None:
    book = make_book(links, clock, memory_bytes=1_048_576)
    room = join(book, KEEP, gateway_0=1)
    book.begin(room, 77, 5)
    say(book, room, b"x" * 1_048_000)
    links.take()
    book.sweep(always)
    assert room.epoch == 77
    book.sweep(never)
    assert (room.epoch, len(room.history), room.count) == (0, 0, 1)
    assert book.rooms[KEEP] is room
    assert links.take() == []


def test_rooms_that_can_give_nothing_do_not_keep_the_sweep_busy(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, memory_bytes=1_048_576)
    for n in range(2_000):
        join(book, f"demo/plaza/{n}", gateway_0=1)
    book.sweep(never)
    assert len(book.rooms) == 2_000
    assert links.take() == []


def test_what_a_room_lets_go_of_is_no_longer_counted(links: RecordingLinks, clock: Clock) -> None:
    book = make_book(links, clock, RoomRule(history_items=2, history_seconds=10))
    room = book.room(LOBBY)
    for _ in range(5):
        say(book, room, b"x" * 100)
    assert book.held_bytes == ROOM_BYTES + 2 * (100 + MESSAGE_OVERHEAD)
    clock.now += 11
    room.newest(300, clock.now)
    assert book.held_bytes == ROOM_BYTES


def test_a_dropped_room_somebody_still_holds_is_not_counted_twice(book: Book, clock: Clock) -> None:
    room = book.room(LOBBY)
    say(book, room)
    clock.now += 601
    book.sweep(never)
    room.newest(300, clock.now + 10_000)
    assert book.held_bytes == 0


KEYS = st.sampled_from([LOBBY, KEEP, "demo/plaza/a", "demo/plaza/b"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), KEYS, st.integers(0, 500_000)),
        st.tuples(st.just("count"), KEYS, st.integers(0, 2)),
        st.tuples(st.just("sweep"), st.just(""), st.integers(0, 700)),
        st.tuples(st.just("recover"), KEYS, st.integers(0, 5)),
        st.tuples(st.just("begin"), KEYS, st.integers(1, 5)),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_bytes_and_members_are_always_what_the_rooms_hold(steps: list[tuple[str, str, int]]) -> None:
    clock, links = Clock(), RecordingLinks()
    rule = RoomRule(history_items=2, history_bytes=900_000, history_seconds=400, idle_seconds=300)
    book = make_book(links, clock, rule, memory_bytes=1_048_576)
    for kind, key, number in steps:
        if kind == "sweep":
            clock.now += number
            book.sweep(never)
            empty = [room for room in book.rooms.values() if not len(room.history) and room.members]
            assert book.held_bytes <= 1_048_576 or len(empty) == len(book.rooms)
        else:
            act(book, clock, kind, key, number)
        rooms = book.rooms.values()
        assert book.held_bytes == sum(ROOM_BYTES + room.history.held_bytes for room in rooms)
        assert book.members == sum(room.count for room in rooms)


def act(book: Book, clock: Clock, kind: str, key: str, number: int) -> None:
    """Do one thing with a room."""
    room = book.room(key)
    if kind == "say":
        say(book, room, b"x" * number)
    elif kind == "count":
        book.set_members(room, "gateway-0", number, 0)
    elif kind == "recover":
        room.recover(room.epoch, number, 2, clock.now)
    else:
        book.begin(room, number, number)
