from __future__ import annotations

from typing import Any

import gevent
import msgpack
import pytest

from common.errors import Forbidden, Full, Unavailable
from common.rules.route import Record
from tests.common.net.stage.playing import KEY, Plain, Play
from worlds.actions import action, method
from worlds.space import Player

ANN = "demo/ann"
OTHER = "world-1 0000000000000009-aa 1"
"""The owner the other world answers `expect` with."""


class Field(Plain):
    """Players count what they did.

    Attributes:
        said: hooks that were called.
    """

    said: list[str]

    def on_open(self) -> None:
        self.said = []

    def on_load(self, player: Player, saved: Any) -> None:
        self.said.append(f"load {saved}")
        player.done = saved

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        self.said.append(f"enter {data}")
        if data == "no":
            raise Forbidden("no")
        player.done = getattr(player, "done", 0)
        return {"done": player.done}

    def on_save(self, player: Player) -> Any:
        if player.done == 13:
            raise ZeroDivisionError
        return player.done

    def on_leave(self, player: Player) -> None:
        self.said.append("leave")

    @action("work")
    def work(self, player: Player) -> None:
        player.done += 1

    @method("go")
    def away(self, player: Player) -> None:
        self.send(player, "other", "door")

    @method("keep")
    def keep(self, player: Player) -> None:
        self.save(player, self.kept, "kept")

    def kept(self, stored: bool, word: str) -> None:
        self.said.append(f"{word} {stored}")
        if not stored:
            raise ZeroDivisionError


@pytest.fixture
def play() -> Play:
    return Play(Field)


def works(play: Play, client: Any, count: int = 1) -> None:
    for _ in range(count):
        n = play.space.players["ann"].inputs.newest + 1
        play.input(client, max(1, n), {"do": "work"})
        play.tick()


def kept(play: Play) -> Any:
    """Give what is stored of ann."""
    return msgpack.unpackb(play.shelf.get(ANN).blob or b"\xc0")


# what is kept


def test_what_a_map_keeps_is_stored_at_exit_and_loaded_at_enter(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann, 2)
    play.exit(ann)
    assert (kept(play), play.shelf.get(ANN).input) == ({"field": 2}, 2)
    again = play.enter("ann", "back")
    assert again.take_heard()[0][1]["done"] == 2
    assert play.space.said == ["enter None", "leave", "load 2", "enter back"]


def test_what_other_maps_have_kept_stays(play: Play) -> None:
    play.shelf.records[ANN] = Record(blob=msgpack.packb({"other": "treasure"}), save_ver=1)
    ann = play.enter("ann")
    works(play, ann)
    play.exit(ann)
    assert kept(play) == {"other": "treasure", "field": 1}
    assert "load treasure" not in play.space.said


def test_maps_that_keep_under_one_name_share_it(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Field, "keeps", "game")
    play.shelf.records[ANN] = Record(blob=msgpack.packb({"game": 7}), save_ver=1)
    assert play.enter("ann").take_heard()[0][1]["done"] == 7


def test_players_are_stored_from_time_to_time_and_a_new_life_goes_on_from_there() -> None:
    play = Play(Field, save_every=10.0)
    ann = play.enter("ann")
    works(play, ann, 2)
    play.clock.now += 20
    play.store()
    works(play, ann)
    play.views["gateway-0"].away("world-0")
    play.stage = play.new_stage()
    play.views["gateway-0"].announce("world-0")
    body = ann.take_heard()[-1][1]
    assert (body["done"], body["ack"]) == (2, 2)
    works(play, ann)
    assert play.space.players["ann"].done == 3


def test_a_map_that_fails_to_save_leaves_what_was_stored_last(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann, 2)
    play.space.players["ann"].done = 13
    play.exit(ann)
    assert (play.shelf.get(ANN).owner, play.shelf.get(ANN).blob) == ("", None)
    assert "on_save" in play.log.getvalue()


def test_a_map_is_told_whether_a_player_it_wanted_stored_is(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann)
    play.call("gateway-0", ann.number, "keep", None)
    play.tick()
    play.store()
    assert (kept(play), play.space.said[-1]) == ({"field": 1}, "kept True")
    play.shelf.away = True
    works(play, ann)
    play.call("gateway-0", ann.number, "keep", None)
    play.tick()
    play.store()
    assert play.space.said[-1] == "kept False"
    assert "ZeroDivisionError" in play.log.getvalue(), "what fails in the map ends nothing else"


def test_a_map_that_wants_a_player_stored_that_has_gone_hears_that_it_was_not(play: Play) -> None:
    ann = play.enter("ann")
    player = play.space.players["ann"]
    play.exit(ann)
    play.space.save(player, play.space.kept, "late")
    play.tick()
    assert play.space.said[-1] == "late False"


# frozen, and on


def test_a_player_of_a_fenced_process_is_in_no_cell_until_storage_says_that_it_is_ours(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann)
    play.stage.keeper.fenced()
    play.input(ann, 2, {"do": "work"})
    play.tick()
    assert play.space.players == {}
    with pytest.raises(Unavailable):
        play.call("gateway-0", ann.number, "where", None)
    play.store()
    body = ann.take_heard()[-1][1]
    assert (body["ack"], body["you"]) == (1, 2)
    works(play, ann)
    assert play.space.players["ann"].done == 2
    assert play.space.said == ["enter None"], "it did not leave"
    play.tick()
    assert ann.eyes.seen() == play.truth("ann")


# moves


def send(play: Play, client: Any) -> None:
    play.call("gateway-0", client.number, "go", None)
    play.tick()
    for _ in range(3):
        gevent.sleep(0)
        play.store()
    gevent.joinall(play.moves)


def test_a_move_is_committed_with_the_state_and_the_gateway_hears_where(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann, 2)
    send(play, ann)
    record = play.shelf.get(ANN)
    assert (record.owner, record.place, record.input) == (OTHER, "demo/other/0.1", 2)
    assert kept(play) == {"field": 2}
    (world, kind, (user, place, move, facts)), (_, then, rest) = play.called
    assert (world, kind, then) == ("world-1", "expect", "arrive")
    assert (user, place, facts) == (ANN, "demo/other/0.1", ["gateway-0", ann.number, "door"])
    assert rest == (user, place, move, facts)
    assert play.sent[-1] == ("gateway-0", ["elsewhere", ann.number, KEY, "demo/other/0.1"])
    assert (play.space.players, play.space.said[-1]) == ({}, "leave")


def test_a_player_the_other_world_does_not_take_goes_on_and_its_client_hears_so(play: Play) -> None:
    ann = play.enter("ann")
    works(play, ann)
    play.other_world = Full("the line is full")
    ann.take_heard()
    send(play, ann)
    assert play.shelf.get(ANN).owner.startswith("world-0 ")
    assert [op for op, _ in ann.take_heard()] == ["entered"]
    works(play, ann)
    assert play.space.players["ann"].done == 2
    assert play.counters.stayed == 1


def test_who_exits_while_it_moves_and_stays_is_let_go(play: Play) -> None:
    ann = play.enter("ann")
    play.shelf.away = True
    play.call("gateway-0", ann.number, "go", None)
    play.tick()
    gevent.sleep(0)
    done: list[bool] = []
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: done.append(True))
    play.clock.now += 5
    play.store()
    play.shelf.away = False
    play.clock.now += 10
    play.store()
    gevent.joinall(play.moves)
    assert (done, play.shelf.get(ANN).owner) == ([True], "")


def comes(play: Play, data: Any = "door") -> Any:
    """Have ann come by a move; give her client, which is in another world so far."""
    client, _ = play.begin_enter("ann", key="demo/other/0.1")
    play.stage.seats.exit("gateway-0", client.number, False, lambda: None)
    play.store(8)
    facts = ["gateway-0", client.number, data]
    owner = play.stage.mover.expect(ANN, KEY, "move 1", facts)
    state = msgpack.packb({"field": 5})
    play.shelf.records[ANN] = Record(owner, KEY, 20, 4, 9, state)
    play.stage.mover.arrive(ANN, KEY, "move 1", facts)
    play.store()
    return client


def test_who_comes_by_a_move_has_what_was_committed_and_its_client_is_told(play: Play) -> None:
    ann = comes(play)
    op, body = ann.take_heard()[-1]
    assert (op, body["done"], body["ack"], body["map"]) == ("entered", 5, 9, "field")
    assert (ann.seat.key, ann.seat.world) == (KEY, "world-0")
    play.tick()
    assert ann.eyes.seen() == play.truth("ann")
    works(play, ann)
    assert play.space.players["ann"].done == 6
    copy = play.stage.hosting.get(KEY)
    assert copy is not None
    assert copy.players == 1
    play.exit(ann)
    assert copy.players == 0


def test_who_comes_by_a_move_and_is_not_let_in_is_given_back_as_it_was(play: Play) -> None:
    comes(play, "no")
    record = play.shelf.get(ANN)
    assert (record.owner, record.input, kept(play)) == ("", 9, {"field": 5})
    assert play.space.players == {}


def test_a_player_is_not_expected_where_there_is_no_room() -> None:
    play = Play(Field, full=2)
    play.enter("bob")
    play.stage.mover.expect("demo/eve", KEY, "move 1", ["", 0, None])
    with pytest.raises(Full):
        play.stage.mover.expect(ANN, KEY, "move 2", ["", 0, None])


def test_a_connection_that_is_gone_when_its_player_comes_leaves_the_player_for_a_while(play: Play) -> None:
    ann, _ = play.begin_enter("ann", key="demo/other/0.1")
    play.stage.seats.exit("gateway-0", ann.number, False, lambda: None)
    play.store(8)
    del play._fronts["gateway-0"].connections[ann.number]
    facts = ["gateway-0", ann.number, None]
    owner = play.stage.mover.expect(ANN, KEY, "move 1", facts)
    play.shelf.records[ANN] = Record(owner, KEY, 20)
    play.stage.mover.arrive(ANN, KEY, "move 1", facts)
    play.store()
    assert list(play.space.players) == ["ann"]
    play.clock.now += 31
    play.store()
    assert (play.space.players, play.shelf.get(ANN).owner) == ({}, "")
