from __future__ import annotations

from typing import Any

import gevent
import pytest

from common.errors import Conflict, Forbidden, Full, Internal, NotFound, NotJoined
from common.wire.codec import unpack
from tests.common.net.stage.playing import KEY, SIZE, Plain, Play
from worlds.space import Entity, Player, Space


@pytest.fixture
def play() -> Play:
    return Play()


# coming and going


def test_who_enters_hears_where_as_whom_and_what_the_map_says(play: Play) -> None:
    ann = play.enter("ann")
    assert ann.take_heard() == [
        ("ok", {"map": "field", "line": "0.1", "tick": 0, "you": 1, "ack": 0, "hello": "ann"})
    ]
    assert (play.space.players["ann"].x, play.space.players["ann"].y) == (SIZE // 2, SIZE // 2)


def test_who_enters_sees_itself_and_those_around_with_the_next_tick(play: Play) -> None:
    ann, bob = play.enter("ann", [15, 15]), play.enter("bob", [18, 15], "gateway-1")
    far = play.enter("far", [55, 55])
    assert ann.eyes.seen() == {}
    play.tick()
    assert (
        ann.eyes.seen()
        == bob.eyes.seen()
        == {
            1: ["player", 15, 15, None],
            2: ["player", 18, 15, None],
        }
    )
    assert set(far.eyes.seen()) == {3}


def test_who_exits_is_seen_no_more_and_its_client_is_told_nothing(play: Play) -> None:
    ann, bob = play.enter("ann"), play.enter("bob")
    play.tick()
    play.exit(ann)
    known = ann.eyes.seen()
    play.tick()
    assert set(bob.eyes.seen()) == {2}
    assert ann.eyes.seen() == known
    assert list(play.space.players) == ["bob"]
    play.leave("gateway-0", ann.number)


def test_who_loses_its_connection_stays_and_goes_on_through_another_gateway(play: Play) -> None:
    ann, bob = play.enter("ann", [15, 15]), play.enter("bob", [18, 15])
    play.input(ann, 7, {"do": "go", "x": 16, "y": 15})
    play.tick()
    play.exit(ann, lost=True)
    play.clock.now += 29
    play.step()
    play.tick()
    assert set(bob.eyes.seen()) == {1, 2}
    again = play.enter("ann", None, "gateway-1")
    ((_, body),) = again.take_heard()
    assert (body["you"], body["ack"]) == (1, 7)
    play.tick()
    assert again.eyes.seen() == bob.eyes.seen() == play.truth("ann")
    play.clock.now += 60
    play.step()
    assert set(play.space.players) == {"ann", "bob"}


def test_who_does_not_come_back_in_time_is_out(play: Play) -> None:
    ann, bob = play.enter("ann"), play.enter("bob")
    play.exit(ann, lost=True)
    play.clock.now += 31
    play.step()
    play.tick()
    assert set(bob.eyes.seen()) == {2}
    assert play.enter("ann").take_heard()[0][1]["you"] == 3


def test_an_input_is_not_applied_again_after_coming_back(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    play.input(ann, 1, {"do": "go", "x": 16, "y": 15})
    play.input(ann, 2, {"do": "go", "x": 17, "y": 15})
    play.tick()
    play.exit(ann, lost=True)
    again = play.enter("ann")
    play.input(again, 1, {"do": "go", "x": 5, "y": 5})
    play.tick()
    assert play.space.players["ann"].x == 17
    play.input(again, 3, {"do": "go", "x": 18, "y": 15})
    play.tick()
    assert play.space.players["ann"].x == 18


def test_another_connection_of_a_user_takes_its_player_over(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    play.tick()
    other = play.enter("ann", None, "gateway-1")
    assert ann.seat is None
    play.tick()
    assert other.eyes.seen() == play.truth("ann")
    assert len(play.space.players) == 1
    play.leave("gateway-0", ann.number)
    assert len(play.space.players) == 1


def test_a_full_line_lets_nobody_in_but_who_has_a_player_there() -> None:
    play = Play(full=1)
    ann = play.enter("ann")
    with pytest.raises(Full):
        play.enter("bob")
    play.exit(ann, lost=True)
    play.enter("ann")


def test_a_map_without_places_cannot_be_entered(play: Play) -> None:
    play.stage._make_space = None
    with pytest.raises(NotFound):
        play.enter("ann")


def test_an_instance_is_for_its_guests_and_its_map_knows_what_it_was_made_with(play: Play) -> None:
    key = "demo/field/0:17"
    play.stage.hosting.open(key, {"guests": ["ann"], "mode": "duel"}, play.clock())
    with pytest.raises(Forbidden):
        play.enter("bob", key=key)
    play.enter("ann", key=key)
    space: Any = play.stage.lines[key].space
    assert (space.line, space.made["mode"]) == ("0:17", "duel")


def test_a_line_nobody_is_in_is_closed_after_a_while(play: Play) -> None:
    ann = play.enter("ann")
    line = play.stage.lines[KEY]
    play.clock.now += 99
    play.step()
    assert KEY in play.stage.lines
    play.leave("gateway-0", ann.number)
    play.clock.now += 29
    play.step()
    assert KEY in play.stage.lines
    play.clock.now += 2
    play.step()
    assert play.stage.lines == {}
    assert line.closed


# inputs


def test_inputs_beyond_a_ticks_share_wait_and_a_flood_is_dropped_and_told_of() -> None:
    play = Play(input_queue=6)
    ann = play.enter("ann", [15, 15])
    for n in range(1, 10):
        play.input(ann, n, {"do": "go", "x": n, "y": 15})
    play.tick()
    assert play.space.players["ann"].x == Plain.inputs_per_tick
    play.tick()
    assert play.space.players["ann"].x == 6
    assert (play.counters.inputs, play.counters.inputs_dropped) == (6, 3)
    assert "a player floods" in play.log.getvalue()
    acks = [body["ack"] for op, body in ann.take_heard() if op == "state"]
    assert acks == [4, 6]


def test_a_client_that_is_told_all_again_hears_its_last_ack_again(play: Play) -> None:
    ann = play.enter("ann")
    play.tick()
    ann.slow = True
    play.input(ann, 5, {"do": "go", "x": 1, "y": 1})
    play.tick()
    assert [body.get("ack") for _, body in ann.take_heard() if "ack" in body] == [0]
    ann.catch_up()
    play.tick()
    assert [body["ack"] for op, body in ann.take_heard() if op == "state"] == [5]


def test_an_ack_goes_to_who_sent_the_input_alone(play: Play) -> None:
    ann, bob = play.enter("ann"), play.enter("bob")
    play.tick()
    ann.take_heard(), bob.take_heard()
    play.input(ann, 5, {"do": "go", "x": 1, "y": 1})
    play.tick()
    assert ann.take_heard() == [("state", {"map": "field", "tick": 2, "ack": 5})]
    assert bob.take_heard() == []


def test_an_input_that_means_nothing_is_counted_and_the_next_one_is_applied(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    play.input(ann, 1, {"do": "fly"})
    play.input(ann, 2, {"do": "break"})
    play.input(ann, 3, {"do": "go", "x": 16, "y": 15})
    play.tick()
    assert play.space.players["ann"].x == 16
    assert (play.counters.inputs_refused, play.counters.failures) == (1, 1)
    assert "ZeroDivisionError" in play.log.getvalue()


def test_an_input_of_who_has_gone_is_not_applied(play: Play) -> None:
    ann = play.enter("ann")
    play.input(ann, 1, {"do": "break"})
    play.leave("gateway-0", ann.number)
    play.input(ann, 2, {"do": "break"})
    play.tick()
    assert play.counters.failures == 0


# calls, events


def test_a_call_is_answered_at_once(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    assert play.call("gateway-0", ann.number, "where", None) == [15, 15]
    with pytest.raises(NotFound):
        play.call("gateway-0", ann.number, "why", None)
    with pytest.raises(NotJoined):
        play.call("gateway-1", ann.number, "where", None)


@pytest.mark.parametrize("method", ["break", "odd"])
def test_a_call_that_fails_in_the_maps_code_is_internal_and_told_to_the_operator(
    play: Play, method: str
) -> None:
    ann = play.enter("ann")
    with pytest.raises(Internal):
        play.call("gateway-0", ann.number, method, None)
    assert f"what='method {method}'" in play.log.getvalue() or f"method {method}" in play.log.getvalue()


def test_events_reach_all_those_near_or_one(play: Play) -> None:
    ann, bob = play.enter("ann", [15, 15]), play.enter("bob", [18, 15], "gateway-1")
    far = play.enter("far", [55, 55])
    play.tick()
    for client in (ann, bob, far):
        client.take_heard()
    play.space.tell_all("all")
    play.space.tell_near(15, 15, "near")
    play.space.tell(play.space.players["bob"], "one")
    play.tick()

    def events(client: Any) -> list[Any]:
        heard = client.take_heard()
        return [body if op == "event" else body["events"] for op, body in heard]

    assert events(ann) == ["near", ["all"]]
    assert events(bob) == ["near", ["all"], ["one"]]
    assert events(far) == [["all"]]


# a map's own code that fails


class Broken(Plain):
    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        if data == "full":
            raise Conflict("not you")
        if data == "odd":
            return {"odd": object()}
        if data == "break":
            raise ZeroDivisionError
        return {}

    def on_tick(self, seconds: float) -> None:
        self.every_tick = getattr(self, "every_tick", 0) + 1
        raise ZeroDivisionError


@pytest.mark.parametrize(("data", "error"), [("full", Conflict), ("odd", Internal), ("break", Internal)])
def test_who_is_not_let_in_leaves_nothing_behind(data: str, error: type[Exception]) -> None:
    play = Play(Broken)
    with pytest.raises(error):
        play.enter("ann", data)
    play.tick()
    assert (play.space.players, play.space.interest.entities) == ({}, {})


def test_a_tick_that_fails_is_told_of_and_the_others_see_on() -> None:
    play = Play(Broken)
    ann, bob = play.enter("ann"), play.enter("bob")
    for _ in range(3):
        play.tick()
    assert ann.eyes.seen() == bob.eyes.seen() == play.truth("ann")
    assert play.counters.failures == 3
    assert play.log.getvalue().count("map failed") == 2, "at 1, 2, 4 … times"


def test_a_map_that_cannot_be_made_refuses_who_enters() -> None:
    def broken(line: str, made: Any) -> Space:
        raise ZeroDivisionError

    play = Play(broken)
    with pytest.raises(Internal):
        play.enter("ann")
    assert play.stage.lines == {}


def test_data_spoilt_by_hand_is_left_out_and_the_rest_is_told(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    good, bad = play.space.add(Entity("ant", 15, 15)), play.space.add(Entity("ant", 15, 15))
    bad.data = object()
    play.tick()
    assert set(ann.eyes.seen()) == {1, good.id}
    assert play.counters.failures == 1


# gateways


def test_a_gateway_whose_queue_was_full_is_told_all_again(play: Play) -> None:
    ann, bob = play.enter("ann", [15, 15]), play.enter("bob", [18, 15])
    play.tick()
    play.full = {"gateway-0"}
    play.input(ann, 1, {"do": "go", "x": 45, "y": 45})
    play.tick()
    play.tick()
    assert set(ann.eyes.seen()) == {1, 2}
    play.full = set()
    play.tick()
    assert ann.eyes.seen() == play.truth("ann")
    assert bob.eyes.seen() == play.truth("bob")
    assert play.counters.behind == 2


def test_players_of_a_gateway_out_of_touch_stay_and_its_announcement_seats_them_again(play: Play) -> None:
    ann, bob = play.enter("ann", [15, 15]), play.enter("bob", [18, 15], "gateway-1")
    play.tick()
    play.stage.seats.link_down("gateway-0")
    play.views["gateway-0"].away("world-0")
    assert ("entered", {"map": "field", "away": True}) in ann.take_heard()
    play.input(bob, 1, {"do": "go", "x": 19, "y": 15}, "gateway-1")
    play.tick()
    assert ann.eyes.seen() == {}
    play.views["gateway-0"].announce("world-0")
    ((op, body),) = ann.take_heard()
    assert (op, body["you"], body["hello"]) == ("entered", 1, "ann")
    play.tick()
    assert ann.eyes.seen() == bob.eyes.seen() == play.truth("ann")


def test_a_world_that_began_anew_lets_announced_clients_in_again(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    play.tick()
    play.views["gateway-0"].away("world-0")
    play.stage = play.new_stage()
    play.views["gateway-0"].announce("world-0")
    assert ann.take_heard()[-1][0] == "entered"
    play.tick()
    assert ann.eyes.seen() == play.truth("ann")
    assert play.space.players["ann"].x == 15, "by what it had sent along with `enter`"


def test_a_client_that_is_not_let_in_again_has_no_seat() -> None:
    play = Play(full=1)
    ann = play.enter("ann")
    play.stage = play.new_stage()
    play.enter("bob")
    play.views["gateway-0"].announce("world-0")
    assert ann.seat is None


def test_who_leaves_while_a_tick_is_being_written_gets_nothing_more_and_the_others_do(play: Play) -> None:
    ann, bob, eve = play.enter("ann", [5, 5]), play.enter("bob", [55, 55]), play.enter("eve", [55, 55])
    play.tick()
    for client, x in ((ann, 6), (bob, 54), (eve, 54)):
        play.input(client, 1, {"do": "go", "x": x, "y": x})
    gevent.spawn(play.views["gateway-0"].leave, bob)
    play.tick()
    assert bob.eyes.seen()[2] == ["player", 55, 55, None]
    assert (ann.eyes.seen()[1][1], eve.eyes.seen()[3][1]) == (6, 54)


def test_each_gateway_gets_only_the_cells_its_players_watch(play: Play) -> None:
    ann, far = play.enter("ann", [15, 15]), play.enter("far", [55, 55], "gateway-1")
    play.tick()
    play.sent.clear()
    play.input(ann, 1, {"do": "go", "x": 16, "y": 15})
    play.tick()
    assert [gateway for gateway, _ in play.sent] == ["gateway-0"]
    (_, item) = play.sent[0]
    ((cell, frame),) = item[3]
    assert cell == play.space.interest.grid.cell(16, 15)
    assert unpack(frame[4:])[2]["move"] == [[1, 16, 15]]
    assert set(far.eyes.seen()) == {2}
