from __future__ import annotations

from typing import Any

import pytest

from common.net.hall.book import Book
from common.net.hall.names import KEPT_SECONDS, WAIT_SECONDS, NameBook
from common.rules.room import Room
from common.settings import World
from tests.common.net.hall.recording import Clock, RecordingLinks, make_book

LOBBY = "demo/plaza/lobby"
ANN = [1, "ann", "phone", "mobile", 100]
BOB = [2, "bob", "web", "browser", 200]


class Scene:
    """One room, named by gateways as the test tells."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.links = Clock(), RecordingLinks()
        self.book: Book = make_book(self.links, self.clock)
        self.names = NameBook(World(**settings), self.book, self.links)  # type: ignore[arg-type]
        self.known: list[str] = []

    @property
    def room(self) -> Room:
        return self.book.room(LOBBY)

    def count(self, gateway: str, members: int, listening: int = 0) -> None:
        """A gateway tells its counts."""
        self.book.set_members(self.room, gateway, members, listening)
        self.names.changed(self.room, gateway)

    def want(self, text: str = "known") -> None:
        """Somebody wants the names; `known` gets the text when they are."""
        self.names.when_known(self.room, lambda: self.known.append(text))

    def tell(self, gateway: str, *seats: list[Any]) -> None:
        """A gateway tells its list."""
        self.names.take(self.room, gateway, list(seats))

    def listed(self) -> list[str]:
        return [uid for uid, *_ in self.names.listing(self.room)]

    def events(self) -> list[tuple[str, str, str]]:
        """Give (to whom, kind, uid) of the events sent."""
        return [(name, item[2], item[3]) for name, item in self.links.take("event")]

    def asked(self) -> list[tuple[str, bool]]:
        """Give (who, wanted) of the requests for names sent."""
        return [(name, item[2]) for name, item in self.links.take("roster")]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_names_are_asked_of_every_gateway_with_members_and_waited_for(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.count("gateway-1", 1)
    assert scene.asked() == []
    scene.want()
    assert scene.asked() == [("gateway-0", True), ("gateway-1", True)]
    scene.tell("gateway-0", ANN)
    assert scene.known == []
    scene.tell("gateway-1", BOB)
    assert scene.known == ["known"]
    assert scene.listed() == ["ann", "bob"]


def test_names_that_are_known_are_there_at_once(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.want("first")
    scene.tell("gateway-0", ANN)
    scene.links.take()
    scene.want("second")
    assert scene.known == ["first", "second"]
    assert scene.asked() == []


def test_who_waits_goes_on_in_the_order_they_came(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    for text in "abc":
        scene.want(text)
    scene.tell("gateway-0", ANN)
    assert scene.known == ["a", "b", "c"]


def test_an_empty_room_is_known_at_once(scene: Scene) -> None:
    scene.want()
    assert scene.known == ["known"]
    assert scene.listed() == []


def test_listeners_hear_who_comes_and_goes_after_the_first_lists_only(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    assert scene.events() == []
    scene.count("gateway-0", 2, 1)
    scene.tell("gateway-0", ANN, BOB)
    assert scene.events() == [("gateway-0", "joined", "bob")]
    scene.tell("gateway-0", BOB)
    assert scene.events() == [("gateway-0", "left", "ann")]


def test_a_gateway_that_gets_its_first_member_later_is_asked_then_and_that_one_came(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    scene.links.take()
    scene.count("gateway-1", 1)
    assert scene.asked() == [("gateway-1", True)]
    scene.tell("gateway-1", BOB)
    assert scene.events() == [("gateway-0", "joined", "bob")]


def test_nobody_waits_for_a_gateway_without_a_link(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.links.down = {"gateway-0"}
    scene.want()
    assert scene.known == ["known"]


def test_a_gateway_that_loses_its_link_is_waited_for_no_longer(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.want()
    scene.names.catch_up()
    assert scene.known == []
    scene.links.down = {"gateway-0"}
    scene.names.catch_up()
    assert scene.known == ["known"]


def test_a_silent_gateway_is_waited_for_only_so_long_and_once(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.want("first")
    scene.clock.now += WAIT_SECONDS
    scene.names.catch_up()
    scene.want("second")
    assert scene.known == ["first", "second"]


def test_what_a_late_gateway_names_first_is_nobodys_coming(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.count("gateway-1", 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    scene.clock.now += WAIT_SECONDS
    scene.names.catch_up()
    scene.tell("gateway-1", BOB)
    assert scene.events() == []
    assert scene.listed() == ["ann", "bob"]
    scene.tell("gateway-1")
    assert scene.events() == [("gateway-0", "left", "bob")]


def test_a_gateway_that_tells_no_members_any_more_has_nobody(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.count("gateway-1", 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    scene.count("gateway-1", 0)
    assert scene.known == ["known"]
    scene.count("gateway-1", 1)
    scene.tell("gateway-1", BOB)
    scene.links.take()
    scene.count("gateway-1", 0)
    assert scene.events() == [("gateway-0", "left", "bob")]


def test_after_a_new_stream_a_gateway_is_asked_again_and_only_differences_are_told(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.count("gateway-1", 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    scene.tell("gateway-1", BOB)
    scene.links.take()
    scene.names.ask_again("gateway-1")
    scene.count("gateway-1", 1)
    scene.count("gateway-0", 1, 1)
    assert scene.asked() == [("gateway-1", True)]
    scene.count("gateway-1", 1)
    assert scene.asked() == []
    scene.tell("gateway-1", [1, "cat", "web", "browser", 5])
    assert scene.events() == [("gateway-0", "joined", "cat"), ("gateway-0", "left", "bob")]


def test_a_gateway_whose_queue_was_full_is_asked_as_soon_as_there_is_space(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.links.full = {"gateway-0"}
    scene.want()
    scene.names.catch_up()
    scene.links.full = set()
    assert scene.asked() == []
    scene.names.catch_up()
    assert scene.asked() == [("gateway-0", True)]
    scene.names.catch_up()
    assert scene.asked() == []


def test_a_gateway_whose_queue_was_full_is_asked_once_when_it_tells_a_count_meanwhile(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.links.full = {"gateway-0"}
    scene.want()
    scene.links.full = set()
    scene.count("gateway-0", 2)
    scene.names.catch_up()
    assert scene.asked() == [("gateway-0", True)]


def test_nobody_is_asked_later_for_a_room_that_keeps_no_names_any_more(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.links.full = {"gateway-0"}
    scene.want()
    scene.count("gateway-0", 0)
    scene.links.full = set()
    scene.names.catch_up()
    assert scene.asked() == []


def test_a_list_nobody_wants_is_answered_with_no_more(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.tell("gateway-0", ANN)
    assert scene.asked() == [("gateway-0", False)]


def second(scene: Scene, seconds: float = 1.0) -> None:
    """Let time pass and do what is done each second."""
    scene.clock.now += seconds
    scene.names.step()


def test_a_roster_goes_when_it_was_not_asked_for_in_a_minute(scene: Scene) -> None:
    scene.count("gateway-0", 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    scene.links.take()
    second(scene, KEPT_SECONDS - 1)
    assert scene.listed() == ["ann"]
    scene.want()
    second(scene, 3)
    assert scene.asked() == []
    second(scene, KEPT_SECONDS + 1)
    assert scene.asked() == [("gateway-0", False)]
    assert scene.listed() == []


def test_a_roster_stays_while_somebody_listens(scene: Scene) -> None:
    scene.count("gateway-0", 1, 1)
    scene.want()
    scene.tell("gateway-0", ANN)
    second(scene, 10 * KEPT_SECONDS)
    assert scene.listed() == ["ann"]


def test_the_roster_of_a_room_that_is_gone_goes_too(scene: Scene) -> None:
    scene.want()
    scene.clock.now += 700
    scene.book.sweep(lambda key: False)
    second(scene)
    assert not scene.names._names


# rooms too large for names


@pytest.fixture
def small() -> Scene:
    """A room that names up to 10 members, and again from 8 on."""
    return Scene(presence_members=10, presence_return=8)


def test_a_room_too_large_is_known_at_once_and_lists_nobody(small: Scene) -> None:
    small.count("gateway-0", 11)
    small.want()
    assert (small.known, small.listed(), small.asked()) == (["known"], [], [])


def test_a_room_that_grows_too_large_wants_no_names_and_keeps_nobody_waiting(small: Scene) -> None:
    small.count("gateway-0", 10, 1)
    small.want()
    assert small.asked() == [("gateway-0", True)]
    small.count("gateway-0", 11, 1)
    assert small.known == ["known"]
    assert small.asked() == [("gateway-0", False)]


def test_a_large_room_tells_its_count_each_second_after_a_change_of_1_percent(small: Scene) -> None:
    small.count("gateway-0", 1_000, 1)
    small.count("gateway-1", 500)
    small.want()
    second(small)
    assert [(name, item[2:]) for name, item in small.links.take()] == [("gateway-0", ["count", "", 1_500])]
    small.count("gateway-0", 1_014, 1)
    second(small)
    assert small.links.take() == []
    small.count("gateway-0", 1_015, 1)
    second(small)
    assert [item[4] for _, item in small.links.take()] == [1_515]


def test_a_large_room_in_which_nobody_listens_tells_nothing(small: Scene) -> None:
    small.count("gateway-0", 1_000)
    small.want()
    second(small)
    assert small.links.take() == []


RETURNS: dict[str, tuple[int, list[tuple[str, bool]]]] = {
    "a little smaller is not small": (9, []),
    "small enough": (8, [("gateway-0", True)]),
}


@pytest.mark.parametrize(("members", "asked"), RETURNS.values(), ids=RETURNS)
def test_a_room_names_its_members_again_when_it_is_small_enough(
    small: Scene, members: int, asked: list[tuple[str, bool]]
) -> None:
    small.count("gateway-0", 11, 1)
    small.want()
    second(small)
    small.count("gateway-0", members, 1)
    small.links.take()
    second(small)
    assert small.asked() == asked


def test_a_large_room_that_is_gone_is_forgotten(small: Scene) -> None:
    small.count("gateway-0", 11, 1)
    small.want()
    second(small)
    small.book.set_members(small.room, "gateway-0", 0, 0)
    small.clock.now += 700
    small.book.sweep(lambda key: False)
    second(small)
    assert not small.names._grown
    assert not small.names._told
