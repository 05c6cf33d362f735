from __future__ import annotations

from common.net.hall.book import Book
from tests.common.net.hall.recording import Clock, RecordingLinks, join, never, say

LOBBY, KEEP = "demo/plaza/lobby", "demo/plaza/keep.1"


def test_a_message_goes_once_to_each_gateway_with_members(book: Book, links: RecordingLinks) -> None:
    room = join(book, LOBBY, gateway_0=7, gateway_1=1)
    join(book, "demo/plaza/other", gateway_2=1)
    say(book, room, b"\xa2hi")
    item = ["m", LOBBY, 1, "ann", b"\xa2hi", 5]
    assert links.take() == [("gateway-0", item), ("gateway-1", item)]


def test_only_gateways_with_listeners_hear_events(book: Book, links: RecordingLinks) -> None:
    room = join(book, LOBBY, gateway_0=1)
    book.set_members(room, "gateway-1", 2, 1)
    book.fanout.send_all(room, ["event"], listeners_only=True)
    assert links.take() == [("gateway-1", ["event"])]


def test_a_gateway_whose_queue_is_full_hears_later_where_the_room_stands(
    book: Book, links: RecordingLinks
) -> None:
    room = join(book, LOBBY, gateway_0=1, gateway_1=1)
    links.full = {"gateway-0"}
    say(book, room)
    say(book, room)
    assert links.kinds() == [("gateway-1", "m"), ("gateway-1", "m")]
    book.fanout.catch_up(book.rooms)
    assert links.take() == []
    links.full = set()
    say(book, room)
    assert links.kinds() == [("gateway-1", "m")], "nothing before it knows where the room stands"
    book.fanout.catch_up(book.rooms)
    assert links.take() == [("gateway-0", ["sync", LOBBY, room.epoch, 3])]
    book.fanout.catch_up(book.rooms)
    say(book, room)
    assert links.kinds() == [("gateway-0", "m"), ("gateway-1", "m")]


def test_catching_up_stops_where_the_queue_is_full_again_and_goes_on_later(
    book: Book, links: RecordingLinks
) -> None:
    rooms = [join(book, f"demo/plaza/{n}", gateway_0=1) for n in range(5)]
    links.full = {"gateway-0"}
    for room in rooms:
        say(book, room)
    send, links.full = links.send, set()
    space = [True, True, False]
    links.send = lambda name, item: space.pop(0) and send(name, item)  # type: ignore[method-assign]
    book.fanout.catch_up(book.rooms)
    links.send = send  # type: ignore[method-assign]
    told = {item[1] for _, item in links.take()}
    assert len(told) == 2
    book.fanout.catch_up(book.rooms)
    assert told | {item[1] for _, item in links.take()} == {room.key for room in rooms}


def test_a_sync_that_finds_no_space_is_told_later_too(book: Book, links: RecordingLinks) -> None:
    room = join(book, LOBBY, gateway_0=1)
    links.full = {"gateway-0"}
    assert book.fanout.sync("gateway-0", room) is False
    links.full = set()
    book.fanout.catch_up(book.rooms)
    assert links.kinds() == [("gateway-0", "sync")]


def test_nothing_is_kept_for_a_gateway_without_a_link(book: Book, links: RecordingLinks) -> None:
    room = join(book, LOBBY, gateway_0=1)
    links.down = {"gateway-0"}
    say(book, room)
    book.fanout.sync("gateway-0", room)
    links.down = set()
    book.fanout.catch_up(book.rooms)
    assert links.take() == []


def test_a_gateway_that_lost_its_link_is_not_told_what_it_missed_before(
    book: Book, links: RecordingLinks
) -> None:
    room = join(book, LOBBY, gateway_0=1)
    links.full = {"gateway-0"}
    say(book, room)
    links.full = set()
    book.fanout.link_down("gateway-0")
    book.fanout.catch_up(book.rooms)
    assert links.take() == []


def test_nothing_of_a_room_goes_into_a_new_stream_before_the_gateway_told_where_it_stands(
    book: Book, links: RecordingLinks
) -> None:
    room, other = join(book, LOBBY, gateway_0=1, gateway_1=1), join(book, "demo/plaza/other", gateway_0=1)
    book.fanout.link_up("gateway-0")
    say(book, room)
    assert links.kinds() == [("gateway-1", "m")]
    book.fanout.told("gateway-0", LOBBY)
    say(book, room)
    say(book, other)
    assert links.kinds() == [("gateway-0", "m"), ("gateway-1", "m")]
    book.fanout.told_all("gateway-0")
    say(book, other)
    assert links.kinds() == [("gateway-0", "m")]


def test_a_room_that_is_gone_or_not_loaded_needs_no_catching_up(
    book: Book, links: RecordingLinks, clock: Clock
) -> None:
    links.full = {"gateway-0"}
    gone, durable = join(book, LOBBY, gateway_0=1), join(book, KEEP, gateway_0=1)
    book.begin(durable, 77, 0)
    for room in (gone, durable):
        say(book, room)
    book.begin(durable, 0, 0)
    book.set_members(gone, "gateway-0", 0, 0)
    clock.now += 601
    book.sweep(never)
    links.full = set()
    book.fanout.catch_up(book.rooms)
    assert links.take() == []
