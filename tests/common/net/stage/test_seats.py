from __future__ import annotations

from typing import Any

import pytest

from common.errors import Busy, Conflict, Forbidden, NotJoined, RequestError, Unavailable
from common.rules.route import Record
from tests.common.net.stage.playing import KEY, Plain, Play
from worlds.space import Player

ANN = "demo/ann"
ELSEWHERE = "world-1 0000000000000005-aa 1"


@pytest.fixture
def play() -> Play:
    return Play()


def go(x: int) -> dict[str, Any]:
    return {"do": "go", "x": x, "y": 15}


# behind an enter that waits for storage


def test_what_is_sent_right_behind_an_enter_is_done_behind_the_claim_in_its_order(play: Play) -> None:
    ann, told = play.begin_enter("ann", [15, 15])
    answers: list[Any] = []
    play.input(ann, 1, go(16))
    play.stage.seats.call("gateway-0", ann.number, "where", None, answers.append, answers.append)
    assert (told, answers) == ([], [])
    play.store()
    assert told[0]["you"] == 1
    assert answers == [[15, 15]]
    play.tick()
    assert play.space.players["ann"].x == 16


def test_more_than_may_wait_behind_an_enter_is_dropped_and_refused() -> None:
    play = Play(input_queue=2)
    ann, _ = play.begin_enter("ann")
    answers: list[Any] = []
    for n in range(1, 4):
        play.input(ann, n, go(n))
    play.stage.seats.call("gateway-0", ann.number, "where", None, answers.append, answers.append)
    assert play.counters.inputs_dropped == 1
    assert isinstance(answers[0], Busy)


def test_a_call_behind_an_enter_that_is_refused_is_refused(play: Play) -> None:
    play.shelf.records[ANN] = Record(ELSEWHERE, "demo/other/0.1", 3)
    ann, told = play.begin_enter("ann")
    answers: list[Any] = []
    play.stage.seats.call("gateway-0", ann.number, "where", None, answers.append, answers.append)
    play.store()
    assert isinstance(told[0], Conflict)
    assert isinstance(answers[0], NotJoined)


def test_who_exits_right_behind_its_enter_is_let_go_again(play: Play) -> None:
    ann, told = play.begin_enter("ann")
    done: list[bool] = []
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: done.append(True))
    assert done == []
    play.store(8)
    assert (told, done) == ([], [True])
    assert play.shelf.get(ANN).owner == ""
    assert play.space.players == {}


def test_who_breaks_off_right_behind_its_enter_stays_for_a_while(play: Play) -> None:
    ann, _ = play.begin_enter("ann")
    play.stage.seats.exit("gateway-0", ann.number, True, lambda: None)
    play.store()
    assert list(play.space.players) == ["ann"]
    play.clock.now += 31
    play.store()
    assert play.space.players == {}


def test_of_two_enters_of_a_user_the_later_one_is_in(play: Play) -> None:
    _, first = play.begin_enter("ann")
    _, second = play.begin_enter("ann", gateway="gateway-1")
    play.store()
    assert isinstance(first[0], Conflict)
    assert second[0]["you"] == 1


def test_one_connection_that_asks_again_while_it_waits_is_answered_once(play: Play) -> None:
    ann, told = play.begin_enter("ann")
    again: list[Any] = []
    play.stage.seats.enter("gateway-0", ann.number, KEY, "ann", None, again.append, again.append)
    play.store()
    assert (told, len(again)) == ([], 1)


# storage


def test_who_enters_while_storage_is_away_is_refused_and_takes_no_place() -> None:
    play = Play(full=1)
    play.shelf.away = True
    _, told = play.begin_enter("ann")
    for _ in range(40):
        play.clock.now += 0.25
        play.store(1)
    assert isinstance(told[0], Unavailable)
    play.shelf.away = False
    play.enter("bob")


def test_an_exit_is_answered_when_what_the_player_was_is_stored(play: Play) -> None:
    ann = play.enter("ann")
    play.shelf.away = True
    done: list[bool] = []
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: done.append(True))
    play.store()
    assert (done, list(play.space.players)) == ([], [])
    play.shelf.away = False
    play.clock.now += 1
    play.store()
    assert done == [True]
    assert play.shelf.get(ANN).owner == ""


def test_who_enters_while_it_is_being_stored_is_back_as_it_was(play: Play) -> None:
    ann = play.enter("ann", [15, 15])
    play.input(ann, 1, go(18))
    play.tick()
    play.shelf.away = True
    done: list[bool] = []
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: done.append(True))
    play.store()
    again = play.enter("ann", None, "gateway-1")
    assert done == [True]
    assert (play.space.players["ann"].x, again.take_heard()[0][1]["ack"]) == (18, 1)
    play.tick()
    assert again.eyes.seen() == play.truth("ann")


def test_who_is_in_another_process_is_refused_and_the_answer_says_where(play: Play) -> None:
    play.shelf.records[ANN] = Record(ELSEWHERE, "demo/other/0.1", 3)
    with pytest.raises(Conflict) as refused:
        play.enter("ann")
    assert refused.value.facts["place"] == "demo/other/0.1"


def test_a_seat_that_is_announced_and_played_elsewhere_is_sent_there(play: Play) -> None:
    ann = play.enter("ann")
    play.views["gateway-0"].away("world-0")
    play.stage = play.new_stage()
    play.shelf.records[ANN] = Record(ELSEWHERE, "demo/other/1.1", 9)
    play.views["gateway-0"].announce("world-0")
    assert play.sent[-1] == ("gateway-0", ["elsewhere", ann.number, KEY, "demo/other/1.1"])
    assert (ann.seat.key, ann.seat.away) == ("demo/other/1.1", True)


def test_a_seat_whose_player_another_process_took_is_told(play: Play) -> None:
    ann = play.enter("ann")
    record = play.shelf.get(ANN)
    play.shelf.records[ANN] = record._replace(owner=ELSEWHERE, route_ver=record.route_ver + 1)
    play.clock.now += 60
    play.store()
    assert ann.seat is None
    assert play.space.players == {}


class Strict(Plain):
    """Nobody with a bad name comes in."""

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        if data == "bad":
            raise Forbidden("not with this name")
        return {}


def test_who_the_map_does_not_let_in_is_given_back_and_may_come_otherwise() -> None:
    play = Play(Strict, full=1)
    with pytest.raises(RequestError) as refused:
        play.enter("ann", "bad")
    assert refused.value.code == "forbidden"
    assert play.shelf.get(ANN).owner == ""
    assert play.enter("ann", "good").take_heard()[0][0] == "ok"


def test_a_connection_that_lost_its_player_to_another_one_does_not_get_it_back_by_an_announcement(
    play: Play,
) -> None:
    old = play.enter("ann")
    play.views["gateway-0"].away("world-0")
    play.stage.seats.link_down("gateway-0")
    new = play.enter("ann", None, "gateway-1")
    play.views["gateway-0"].announce("world-0")
    assert (old.seat, new.seat is None) == (None, False)
    assert play.space.players["ann"].gateway == "gateway-1"


def test_a_new_life_of_a_gateway_is_not_given_an_old_ones_exit(play: Play) -> None:
    ann = play.enter("ann")
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: None, "bob")
    play.store()
    assert list(play.space.players) == ["ann"]
