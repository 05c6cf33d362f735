from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from common.errors import BadField, NotFound, RateLimited, RequestError, Unavailable
from common.net.hall.calls import CALLS, Hall
from common.net.hall.counts import Counts
from common.net.hall.names import NameBook
from common.settings import World
from tests.common.net.hall.durable import ROOM, Scene, raising

LOBBY = "demo/plaza/lobby"
ONE, TWO = "gateway-0", "gateway-1"
ELSEWHERE = "demo/plaza/elsewhere"


class Calling:
    """A world's calls over real durable rooms; all rooms but ELSEWHERE are its own, of the map plaza."""

    def __init__(self, scene: Scene, rate: float = 1_000.0) -> None:
        self.scene = scene
        self.names = NameBook(World(), scene.book, scene.links)  # type: ignore[arg-type]
        self.counts = Counts(scene.book, self.names)
        self.hall = Hall(scene.book, self.names, scene.appender, owns, rate)

    def call(self, method: str, *args: Any) -> Any:
        handler = CALLS.get(method)
        assert handler is not None
        return handler(self.hall, *args)

    def refused(self, method: str, *args: Any) -> type[RequestError]:
        with pytest.raises(RequestError) as caught:
            self.call(method, *args)
        return type(caught.value)

    def members(self, key: str, gateway: str = ONE, count: int = 1) -> None:
        self.counts.take(gateway, self.scene.book.room(key), count, 0)


def owns(key: str) -> bool:
    if key.split("/")[1] != "plaza":
        raise NotFound("no such map", field="room")
    return key != ELSEWHERE


@pytest.fixture
def calling(scene: Scene) -> Calling:
    return Calling(scene)


def test_the_server_says_something_in_a_room_and_members_hear_it(calling: Calling) -> None:
    calling.members(LOBBY, ONE)
    calling.members(LOBBY, TWO)
    epoch, offset = calling.call("publish", LOBBY, "", "", b"\xa1x")
    room = calling.scene.book.rooms[LOBBY]
    assert (epoch, offset) == (room.epoch, 1)
    assert [(name, item[1:5]) for name, item in calling.scene.links.take("m")] == [
        (ONE, [LOBBY, 1, "", b"\xa1x"]),
        (TWO, [LOBBY, 1, "", b"\xa1x"]),
    ]


def test_a_key_said_again_by_the_server_has_the_offset_it_had(calling: Calling) -> None:
    first = calling.call("publish", LOBBY, "", "k", b"x")
    assert calling.call("publish", LOBBY, "", "other", b"y")[1] == 2
    assert calling.call("publish", LOBBY, "", "k", b"x") == first


def test_a_durable_publish_is_answered_once_it_is_stored(calling: Calling) -> None:
    epoch, offset = calling.call("publish", ROOM, "", "k", b"x")
    assert (epoch > 0, offset) == (True, 1)
    assert calling.scene.stored() == [(1, "x")]
    assert calling.call("publish", ROOM, "", "k", b"x") == [epoch, 1]


def test_a_durable_publish_that_is_not_stored_is_refused(calling: Calling) -> None:
    calling.scene.dbservers.before = raising(Unavailable("away"), "room_load", times=1_000)
    assert calling.refused("publish", ROOM, "", "", b"x") is Unavailable
    assert calling.refused("room", ROOM) is Unavailable


def test_a_room_takes_so_many_messages_and_no_more(scene: Scene) -> None:
    calling = Calling(scene, rate=2.0)
    for _ in range(4):
        calling.call("publish", LOBBY, "", "", b"x")
    assert calling.refused("publish", LOBBY, "", "", b"x") is RateLimited
    calling.call("publish", "demo/plaza/other", "", "", b"x")


WRONG = {
    "no product": ("plaza/lobby", BadField),
    "too many parts": ("demo/plaza/lobby/x", BadField),
    "no name": ("demo/plaza/a b", BadField),
    "another world's": (ELSEWHERE, BadField),
    "no such map": ("demo/nowhere/x", NotFound),
}


@pytest.mark.parametrize("key, error", WRONG.values(), ids=WRONG)
def test_a_room_that_is_not_ours_is_refused_and_not_made(
    calling: Calling, key: str, error: type[RequestError]
) -> None:
    assert calling.refused("publish", key, "", "", b"x") is error
    assert calling.refused("room", key) is error
    assert not calling.scene.book.rooms


def test_a_room_is_told_with_its_newest_messages(calling: Calling) -> None:
    calling.members(LOBBY)
    for text in (b"a", b"b", b"c"):
        calling.call("publish", LOBBY, "", "", text)
    calling.names.take(calling.scene.book.room(LOBBY), ONE, [])
    told = gevent.spawn(calling.call, "room", LOBBY, 2)
    gevent.sleep(0)
    seats = [[1, "ann", "p", "phone", 5]]
    calling.names.take(calling.scene.book.room(LOBBY), ONE, seats)
    room = told.get(timeout=2)
    assert (room["offset"], room["first"], room["count"]) == (3, 1, 1)
    assert [row[:3] for row in room["messages"]] == [[2, "", b"b"], [3, "", b"c"]]
    assert room["users"] == [["ann", [["p", "phone"]], 5]]


def test_the_history_of_a_room_is_read_page_by_page_from_the_oldest_kept(calling: Calling) -> None:
    for number in range(1, 8):
        calling.call("publish", LOBBY, "", "", b"%d" % number)
    pages: list[list[int]] = []
    after, more = 0, True
    while more:
        told = calling.call("room", LOBBY, 3, after)
        pages.append([row[0] for row in told["messages"]])
        after, more = pages[-1][-1], told["more"]
    assert pages == [[1, 2, 3], [4, 5, 6], [7]]
    for beyond in (7, 8, 2**52):
        told = calling.call("room", LOBBY, 3, beyond)
        assert (told["messages"], told["more"]) == ([], False)
    assert calling.call("room", LOBBY, 0, 0)["messages"] == []


def test_a_page_after_what_is_no_longer_kept_begins_at_the_oldest(
    make_scene: Callable[..., Scene],
) -> None:
    calling = Calling(make_scene(history_items=3))
    for text in (b"a", b"b", b"c", b"d", b"e"):
        calling.call("publish", ROOM, "", "", text)
    told = calling.call("room", ROOM, 2, 0)
    assert (told["first"], [row[0] for row in told["messages"]], told["more"]) == (3, [3, 4], True)


def test_a_room_nobody_is_in_and_nothing_is_kept_of_is_not_found(calling: Calling) -> None:
    assert calling.refused("room", LOBBY) is NotFound
    assert not calling.scene.book.rooms
    assert calling.refused("room", ROOM) is NotFound


def test_a_durable_room_is_loaded_to_be_told(make_scene: Callable[..., Scene]) -> None:
    make_scene().say("a", "b")
    room = Calling(make_scene(owner="world-0 0000000000000003-bb 1")).call("room", ROOM)
    assert [row[2] for row in room["messages"]] == [b"a", b"b"]
    assert (room["offset"], room["count"], room["users"]) == (2, 0, [])


def test_rooms_are_listed_in_order_page_by_page_for_one_product(calling: Calling) -> None:
    names = sorted(f"demo/plaza/{number}" for number in range(25))
    for key in reversed(names):
        calling.members(key, count=2)
    calling.members("other/plaza/x")
    calling.call("publish", names[0], "", "", b"x")
    pages, after = [], ""
    while page := calling.call("rooms", "demo", after, 10):
        pages.append(page)
        after = page[-1][0]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [row for page in pages for row in page] == [[key, 2, 1 if key == names[0] else 0] for key in names]
    assert calling.call("rooms", "demo", "", 0) == [[names[0], 2, 1]]
