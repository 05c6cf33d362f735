from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from common.errors import NotFound
from common.net.front.stream import StreamConnection
from common.wire.codec import unpack
from common.wire.states import Rows, cell_frame, pack_cell, pack_tick
from tests.common.net.front.scene import Client, Site, settle, until

BODY = {"map": "plaza", "line": "0.1", "tick": 3, "you": 7, "ack": 0}
COLUMNS = ROWS = 6
KEY, ROUTE = "demo/plaza/1.1", 4
LET_IN = [BODY, COLUMNS, ROWS, KEY, ROUTE]
MakeSite = Callable[..., Site]


def read(client: Client) -> tuple[str, int, dict[str, Any]]:
    packet = client.read()
    assert packet is not None
    return packet


class In:
    """A client that has entered."""

    def __init__(self, site: Site, uid: str = "ann", data: Any = None) -> None:
        self.site = site
        self.client = site.log_in(uid, device=uid)
        self.connection = site.connection(uid)
        self.client.send("enter", {"map": "plaza", "data": data}, 2)
        self.world, self.item = site.asked("enter")
        self.key = self.item[2]
        site.give(self.world, "ok", self.item[1], LET_IN)
        assert read(self.client) == ("ok", 2, BODY)

    def tick(self, tick: int, **parts: Any) -> None:
        """Hand over a tick: cells, centres, fulls, acks, to_all, to_one."""
        give_tick(self.site, self.world, self.key, tick, **parts)

    def centre(self, tick: int, centre: int, before: int = -1, fulls: tuple[int, ...] = ()) -> None:
        self.tick(tick, centres=[(self.connection.number, centre, before)], fulls=fulls)


def beside(site: Site, one: In, count: int = 1) -> In:
    """Give another client that has entered the same line."""
    return In(site, f"u{count}")


def give_tick(site: Site, world: str, key: str, tick: int, **parts: Any) -> None:
    def rows(cells: Any, full: bool) -> list[bytes]:
        return [pack_cell(cell, frame(tick, cell, full)) for cell in cells]

    item = pack_tick(
        key,
        tick,
        rows(parts.get("cells", ()), False),
        parts.get("centres", ()),
        rows(parts.get("fulls", ()), True),
        parts.get("acks", ()),
        parts.get("to_all", b""),
        parts.get("to_one", ()),
    )
    kind, *rest = unpack(item)
    site.give(world, kind, *rest)


def frame(tick: int, cell: int, full: bool = False) -> bytes:
    return cell_frame("plaza", tick, cell, Rows([(cell, "ant", 1, 1, None)] if full else ()), full)


def states(client: Client, count: int) -> list[tuple[int, int, bool, int]]:
    """Give (tick, cell, full, how many enter) of the next `state` packets."""
    bodies = [read(client)[2] for _ in range(count)]
    return [(b["tick"], b["cell"], b.get("full", False), len(b.get("enter", ()))) for b in bodies]


def nothing_more(client: Client) -> None:
    """Fail when anything is left to read."""
    number = client.send("ping", {})
    assert read(client)[:2] == ("pong", number)


@pytest.fixture(autouse=True)
def function(site: Site) -> None:
    """Function sends everybody to one line."""
    others = site.calls

    def call(peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        if method != "line_place":
            return others(peer, method, *args, timeout=timeout)
        wish = args[3]
        if wish == "0.9":
            raise NotFound("no such line", field="line")
        return wish or "1.1"

    site.calls = call


@pytest.fixture
def ann(site: Site) -> In:
    return In(site, data={"name": "Ann"})


# entering and leaving


def test_enter_is_asked_of_the_line_function_sends_one_to(site: Site, ann: In) -> None:
    key, world = "demo/plaza/1.1", site.process.places.maps["plaza"][1]
    assert (ann.world, ann.item[2:]) == (world, [key, ann.connection.number, "ann", {"name": "Ann"}])


def test_a_line_that_is_named_is_gone_to(site: Site) -> None:
    client = site.log_in("ann", device="ann")
    client.send("enter", {"map": "plaza", "line": "0:17"}, 2)
    world, item = site.asked("enter")
    assert (world, item[2]) == (site.process.places.maps["plaza"][0], "demo/plaza/0:17")


def test_a_map_of_rooms_alone_cannot_be_entered(site: Site) -> None:
    client = site.log_in("ann", device="ann")
    client.send("enter", {"map": "garden"}, 2)
    assert read(client)[2]["code"] == "not_found"


NO_LINES = {
    "no line": ("lobby", "bad_field"),
    "no such process": ("7.1", "not_found"),
    "one that function does not know": ("0.9", "not_found"),
}


@pytest.mark.parametrize(("line", "code"), NO_LINES.values(), ids=NO_LINES)
def test_a_line_that_cannot_be_is_refused(site: Site, line: str, code: str) -> None:
    client = site.log_in("ann", device="ann")
    client.send("enter", {"map": "plaza", "line": line}, 2)
    assert read(client)[2]["code"] == code


def test_matches_are_asked_for_without_enter(site: Site) -> None:
    client = site.log_in("ann", device="ann")
    client.send("call", {"map": "plaza", "method": "match.find", "args": {"mode": "duel"}}, 2)
    world, item = site.asked("match")
    assert world == site.process.places.home_of("demo/plaza")
    assert item[2:] == ["demo", "ann", "match.find", {"mode": "duel"}]


def test_who_is_in_a_map_cannot_enter_another_and_can_after_exit(site: Site, ann: In) -> None:
    ann.client.send("enter", {"map": "plaza"}, 3)
    assert read(ann.client)[2]["code"] == "conflict"
    ann.client.send("exit", {}, 4)
    assert site.answer("exit", None)[2:] == [ann.connection.number, False]
    assert read(ann.client) == ("ok", 4, {})
    ann.client.send("exit", {}, 5)
    assert read(ann.client)[2]["code"] == "not_joined"
    ann.client.send("enter", {"map": "plaza"}, 6)
    site.answer("enter", LET_IN)
    assert read(ann.client)[:2] == ("ok", 6)


def test_a_refused_enter_leaves_the_client_outside(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza"}, 2)
    site.refuse("enter", "full", limit=5)
    assert read(client)[2] == {"code": "full", "message": "refused", "retry": False, "limit": 5}
    client.send("input", {"n": 1, "data": 1}, 3)
    assert read(client)[2]["code"] == "not_joined"


def test_an_enter_that_nobody_answers_is_taken_back(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza"}, 2)
    world, _ = site.asked("enter")
    site.front.requests.expire(site.front.now + 60)
    assert read(client)[2]["code"] == "timeout"
    assert site.asked("exit") == (world, ["exit", 0, site.connection().number, False])


def test_a_token_without_the_scope_does_not_enter(site: Site) -> None:
    client = site.log_in()
    site.connection().rights = type(site.connection().rights)(None, ("send",))
    client.send("enter", {"map": "plaza"}, 2)
    assert read(client)[2]["code"] == "forbidden"


def test_the_world_hears_how_a_connection_ended(site: Site, ann: In) -> None:
    bob = In(site, "bob")
    ann.client.send("bye", {})
    assert site.asked("exit")[1] == ["exit", 0, ann.connection.number, False]
    bob.client.socket.close()
    assert site.asked("exit")[1] == ["exit", 0, bob.connection.number, True]
    assert len(site.front.views) == 0


def test_inputs_go_behind_the_enter_without_waiting_for_its_answer(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza"}, 2)
    client.send("input", {"n": 1, "data": {"do": "walk"}}, 0)
    number = site.connection().number
    until(lambda: any(item[0] == "input" for _, item in site.links.sent))
    sent = [(peer, item) for peer, item in site.links.sent if item[0] in ("enter", "input")]
    assert [item[0] for _, item in sent] == ["enter", "input"]
    assert sent[0][0] == sent[1][0]
    assert sent[1][1] == ["input", number, 1, {"do": "walk"}]


TOO_LARGE: dict[str, dict[str, Any]] = {
    "enter": {"map": "plaza", "data": "x" * 2_000},
    "input": {"n": 1, "data": "x" * 2_000},
}


def test_what_is_too_large_is_refused_and_not_sent(site: Site, ann: In) -> None:
    ann.client.send("input", TOO_LARGE["input"], 3)
    error = read(ann.client)[2]
    assert (error["code"], error["field"], error["limit"]) == ("bad_field", "data", 1_024)
    bob = site.log_in("bob", device="bob")
    bob.send("enter", TOO_LARGE["enter"], 3)
    assert read(bob)[2]["code"] == "bad_field"
    settle()
    assert not [item for _, item in site.links.sent if item[0] in TOO_LARGE]


def test_calls_go_to_the_map_one_is_in_or_to_the_room(site: Site, ann: In) -> None:
    ann.client.send("call", {"map": "plaza", "method": "score", "args": {"of": "all"}}, 3)
    assert site.answer("call", [1, 2])[2:] == [ann.connection.number, "score", {"of": "all"}]
    assert read(ann.client) == ("ok", 3, {"result": [1, 2]})
    ann.client.send("call", {"map": "other", "method": "score"}, 4)
    assert read(ann.client)[2]["code"] == "not_joined"
    ann.client.send("call", {"room": "plaza/lobby", "method": "roll"}, 5)
    assert read(ann.client)[2]["code"] == "not_joined"
    ann.client.send("join", {"room": "plaza/lobby"}, 6)
    ann.client.send("call", {"room": "plaza/lobby", "method": "roll"}, 7)
    site.answer("join", [9, 0, False, [], False, 1])
    assert read(ann.client)[:2] == ("ok", 6)
    assert site.answer("ask", 4)[2:] == ["demo/plaza/lobby", "ann", "roll", None]
    assert read(ann.client) == ("ok", 7, {"result": 4})


# ticks


def test_who_has_a_centre_is_told_the_whole_of_its_cells_and_then_what_changes(ann: In) -> None:
    ann.tick(4, cells=[7])
    ann.centre(5, 7, fulls=(0, 7, 14, 35))
    assert states(ann.client, 3) == [(5, 0, True, 1), (5, 7, True, 1), (5, 14, True, 1)]
    ann.tick(6, cells=[7, 35, 8])
    assert states(ann.client, 2) == [(6, 7, False, 0), (6, 8, False, 0)]
    nothing_more(ann.client)


def test_another_centre_brings_new_cells_whole_and_ends_those_that_went(ann: In) -> None:
    ann.centre(5, 7, fulls=(7,))
    states(ann.client, 1)
    ann.tick(6, cells=[0, 7], centres=[(ann.connection.number, 8, 7)], fulls=(3, 9, 7))
    assert states(ann.client, 2) == [(6, 0, False, 0), (6, 7, False, 0)], "as before, in this tick still"
    assert states(ann.client, 5) == [
        (6, 3, True, 1),
        (6, 9, True, 1),
        (6, 0, True, 0),
        (6, 6, True, 0),
        (6, 12, True, 0),
    ]
    ann.tick(7, cells=[0, 9])
    assert states(ann.client, 1) == [(7, 9, False, 0)]
    nothing_more(ann.client)


def test_acks_and_events_come_with_the_tick(site: Site, ann: In) -> None:
    bob = beside(site, ann)
    ann.centre(5, 7)
    bob.centre(5, 7)
    events = cell_frame("plaza", 6, 0, Rows(events=["bell"]))
    ann.tick(6, cells=[7], acks=[(ann.connection.number, 9)], to_all=events)
    assert [read(ann.client)[2] for _ in range(3)] == [
        {"map": "plaza", "tick": 6, "cell": 7},
        {"map": "plaza", "tick": 6, "cell": 0, "events": ["bell"]},
        {"map": "plaza", "tick": 6, "ack": 9},
    ]
    assert states(bob.client, 2) == [(6, 7, False, 0), (6, 0, False, 0)]
    ann.tick(7, to_one=[(bob.connection.number, events)])
    assert states(bob.client, 1) == [(6, 0, False, 0)]
    nothing_more(ann.client)


def test_clients_with_one_centre_are_given_the_same_bytes(
    site: Site, ann: In, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [ann, beside(site, ann), beside(site, ann, 2)]
    for one in here:
        one.centre(5, 7)
    given: list[tuple[Any, bytes]] = []

    def push(self: Any, blob: bytes, source: Any, offset: int, own: bytes = b"") -> None:
        given.append((self, blob))

    monkeypatch.setattr(StreamConnection, "push", push)
    ann.tick(6, cells=[7, 8])
    assert [connection for connection, _ in given] == [one.connection for one in here]
    assert len({id(blob) for _, blob in given}) == 1


def test_a_client_that_was_too_slow_is_told_nothing_until_the_world_tells_it_all(site: Site, ann: In) -> None:
    ann.centre(5, 7, fulls=(7, 8))
    states(ann.client, 2)
    seat = ann.connection.seat
    assert seat is not None
    seat.caught_up(ann.connection, 6)
    assert site.asked("again") == (ann.world, ["again", ann.connection.number])
    ann.tick(7, cells=[7])
    ann.centre(8, 8, before=7, fulls=(9,))
    nothing_more(ann.client)
    ann.centre(9, 8, fulls=(7, 9))
    assert states(ann.client, 2) == [(9, 7, True, 1), (9, 9, True, 1)]
    ended = {cell for _, cell, full, rows in states(ann.client, 8) if full and not rows}
    assert ended == {0, 6, 12, 1, 2, 8, 13, 14}, "what went, and what is empty now"
    nothing_more(ann.client)


def test_a_world_that_could_not_be_asked_is_asked_with_the_next_tick(site: Site, ann: In) -> None:
    ann.centre(5, 7)
    seat = ann.connection.seat
    assert seat is not None
    site.links.full = {ann.world}
    seat.caught_up(ann.connection, 6)
    site.links.full = set()
    assert not site.links.take("again")
    ann.tick(7, cells=[7])
    assert site.links.take("again") == [(ann.world, ["again", ann.connection.number])]
    ann.tick(8, cells=[7])
    assert not site.links.take("again")


# a world that goes and comes


def test_a_world_out_of_touch_is_away_and_comes_back(site: Site, ann: In) -> None:
    ann.centre(5, 7, fulls=(7,))
    states(ann.client, 1)
    site.gateway.link_down(ann.world)
    assert read(ann.client) == ("entered", 0, {"map": "plaza", "away": True})
    site.gateway.link_up(ann.world)
    number = ann.connection.number
    assert site.asked("seats") == (ann.world, ["seats", [[ann.key, number, "ann", {"name": "Ann"}]]])
    site.give(ann.world, "entered", number, "ann", BODY | {"tick": 1}, COLUMNS, ROWS, KEY, ROUTE + 1)
    assert read(ann.client) == ("entered", 0, BODY | {"tick": 1})
    ann.centre(2, 7, fulls=(7,))
    assert states(ann.client, 1) == [(2, 7, True, 1)]


def test_many_seats_are_announced_in_parts_as_the_link_has_space(
    site: Site, ann: In, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.net.front.views.SEATS_ANNOUNCED", 1)
    bob, cat = beside(site, ann), beside(site, ann, 2)
    site.links.take()
    site.links.full = {ann.world}
    site.gateway.link_up(ann.world)
    settle()
    assert not site.links.take("seats")
    bob.client.send("bye", {})
    until(lambda: len(site.front.views) == 2)
    site.links.full = set()
    until(lambda: sum(item[0] == "seats" for _, item in site.links.sent) == 2)
    told = [item[1] for _, item in site.links.take("seats")]
    assert [[row[1] for row in rows] for rows in told] == [[ann.connection.number], [cat.connection.number]]


def test_one_who_was_not_let_in_yet_is_refused_and_not_announced(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza"}, 2)
    world, _ = site.asked("enter")
    site.gateway.link_down(world)
    assert read(client)[2]["code"] == "unavailable"
    site.links.take()
    site.gateway.link_up(world)
    assert not site.links.take("seats")


def test_who_lost_its_seat_hears_it_and_may_enter_again(site: Site, ann: In) -> None:
    site.give(ann.world, "unseat", ann.connection.number, ann.key)
    assert read(ann.client) == ("entered", 0, {"map": "plaza", "away": True})
    ann.client.send("enter", {"map": "plaza"}, 3)
    site.answer("enter", LET_IN)
    assert read(ann.client)[:2] == ("ok", 3)


# players that are elsewhere, and come from there

EAST = "demo/plaza/0.1"


def other_world(site: Site) -> str:
    """Give the world process of EAST."""
    world: str = site.process.places.maps["plaza"][0]
    return world


def let_in(site: Site, world: str, number: int, key: str, route: int, uid: str = "ann", **body: Any) -> None:
    """Have a world say that it has let a client in."""
    site.give(world, "entered", number, uid, BODY | body, COLUMNS, ROWS, key, route)


def test_a_player_that_is_elsewhere_is_asked_for_there(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza", "data": "Ann"}, 2)
    site.refuse("enter", "conflict", owner="world-0 1 1", place=EAST)
    world, item = site.asked("enter")
    assert (world, item[2:]) == (other_world(site), [EAST, site.connection().number, "ann", "Ann"])
    site.give(world, "ok", item[1], [BODY | {"line": "0.1"}, COLUMNS, ROWS, EAST, 5])
    assert read(client) == ("ok", 2, BODY | {"line": "0.1"})
    seat = site.connection().seat
    assert seat is not None
    assert (seat.key, seat.world) == (EAST, world)


def test_a_player_that_is_always_elsewhere_is_given_up(site: Site) -> None:
    client = site.log_in()
    client.send("enter", {"map": "plaza"}, 2)
    for _ in range(1 + 4):
        site.refuse("enter", "conflict", owner="world-0 1 1", place=EAST)
    assert read(client)[2]["code"] == "conflict"
    client.send("exit", {}, 3)
    assert read(client)[2]["code"] == "not_joined"


def test_a_client_whose_player_came_to_another_world_follows_it(site: Site, ann: In) -> None:
    ann.centre(5, 7, fulls=(7,))
    states(ann.client, 1)
    world, number = other_world(site), ann.connection.number
    let_in(site, world, number, EAST, ROUTE + 1, line="0.1")
    assert read(ann.client) == ("entered", 0, BODY | {"line": "0.1"})
    ann.tick(6, cells=[7])
    give_tick(site, world, EAST, 2, centres=[(number, 7, -1)], fulls=[7])
    assert states(ann.client, 1) == [(2, 7, True, 1)]
    nothing_more(ann.client)
    ann.client.send("input", {"n": 1, "data": 1}, 0)
    assert site.asked("input")[0] == world


def test_a_world_that_has_lost_a_player_meanwhile_does_not_get_its_client_back(site: Site, ann: In) -> None:
    let_in(site, other_world(site), ann.connection.number, EAST, ROUTE + 2)
    read(ann.client)
    let_in(site, ann.world, ann.connection.number, ann.key, ROUTE + 1)
    nothing_more(ann.client)
    seat = ann.connection.seat
    assert seat is not None
    assert seat.key == EAST


def test_a_world_that_lets_in_who_has_left_hears_so(site: Site, ann: In) -> None:
    number = ann.connection.number
    ann.client.send("exit", {}, 3)
    site.answer("exit", None)
    let_in(site, other_world(site), number, EAST, ROUTE + 1)
    assert site.asked("exit") == (other_world(site), ["exit", 0, number, False, "ann"])


STRANGERS = {"another user's connection": 0, "no connection": 99}


@pytest.mark.parametrize("more", STRANGERS.values(), ids=STRANGERS)
def test_a_world_that_lets_in_who_broke_off_hears_so(site: Site, ann: In, more: int) -> None:
    number = ann.connection.number + more
    let_in(site, other_world(site), number, EAST, ROUTE + 1, uid="bob")
    assert site.asked("exit") == (other_world(site), ["exit", 0, number, True, "bob"])
    nothing_more(ann.client)


def test_who_exits_while_its_player_moves_leaves_there_too(site: Site, ann: In) -> None:
    number = ann.connection.number
    ann.client.send("exit", {}, 3)
    until(lambda: any(item[0] == "exit" for _, item in site.links.sent))
    let_in(site, other_world(site), number, EAST, ROUTE + 1)
    site.answer("exit", None)
    assert [read(ann.client)[0] for _ in range(2)] == ["entered", "ok"]
    assert site.asked("exit") == (other_world(site), ["exit", 0, number, False])
    assert ann.connection.seat is None


def test_who_exits_while_its_world_is_away_is_out(site: Site, ann: In) -> None:
    site.links.full.add(ann.world)
    ann.client.send("exit", {}, 3)
    assert read(ann.client)[0] == "error"
    assert ann.connection.seat is None


def test_a_player_that_has_gone_elsewhere_is_asked_for_until_a_world_has_it(
    site: Site, ann: In, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, number = site.front.views, ann.connection.number
    site.give(ann.world, "elsewhere", number, ann.key, EAST)
    ann.client.send("input", {"n": 1, "data": 1}, 4)
    assert read(ann.client)[2]["code"] == "unavailable"
    views.step()
    assert not site.links.take("seats"), "the other world may be faster"
    monkeypatch.setattr("common.net.front.views.ASK_EVERY", 0.0)
    for _ in range(2):
        views.step()
        assert site.asked("seats") == (
            other_world(site),
            ["seats", [[EAST, number, "ann", {"name": "Ann"}]]],
        )
    let_in(site, other_world(site), number, EAST, ROUTE + 1)
    assert read(ann.client)[0] == "entered"
    views.step()
    assert not site.links.take("seats")


def test_a_player_that_has_gone_to_a_world_out_of_touch_is_away(site: Site, ann: In) -> None:
    site.links.down.add(other_world(site))
    site.give(ann.world, "elsewhere", ann.connection.number, ann.key, EAST)
    assert read(ann.client) == ("entered", 0, {"map": "plaza", "away": True})


def test_a_player_that_has_gone_to_a_place_nobody_hosts_is_nowhere(site: Site, ann: In) -> None:
    site.give(ann.world, "elsewhere", ann.connection.number, ann.key, "demo/nowhere/0.1")
    assert read(ann.client) == ("entered", 0, {"map": "plaza", "away": True})
    assert ann.connection.seat is None


def test_what_a_world_says_of_a_seat_it_has_no_more_changes_nothing(site: Site, ann: In) -> None:
    let_in(site, other_world(site), ann.connection.number, EAST, ROUTE + 1)
    read(ann.client)
    site.give(ann.world, "unseat", ann.connection.number, ann.key)
    site.give(ann.world, "elsewhere", ann.connection.number, ann.key, ann.key)
    nothing_more(ann.client)
    seat = ann.connection.seat
    assert seat is not None
    assert seat.world == other_world(site)
