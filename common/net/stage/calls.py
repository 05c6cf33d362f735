"""What others ask of a stage: gateways by link, tools by call.

gateway ── enter, exit, input, call, again, seats ──▶ which connection plays whom
tools   ── players ──▶ who is here, as what
"""

from __future__ import annotations

from functools import partial
from typing import Any

from common.errors import RequestError
from common.handlers import Handlers
from common.net.hall.ask import Ask
from common.net.links import Peer
from common.net.stage.stage import Stage

MAPS = Handlers("map links")
STAGE = Handlers("stage rpc")


@MAPS.on("enter")
def enter(stage: Stage, peer: Peer, rid: int, key: str, number: int, uid: str, data: Any) -> None:
    """A client enters the map; value: [body of its answer, columns, rows of the grid, line, route number]."""
    ask = Ask(stage.links, peer.name, rid)
    try:
        stage.seats.enter(peer.name, number, key, uid, data, ask.ok, ask.refuse)
    except RequestError as error:
        ask.refuse(error)


@MAPS.on("exit")
def leave(stage: Stage, peer: Peer, rid: int, number: int, lost: bool, uid: str = "") -> None:
    """A client leaves it, or its connection broke; of this user, if one is named."""
    stage.seats.exit(peer.name, number, lost, partial(Ask(stage.links, peer.name, rid).ok, None), uid)


@MAPS.on("input")
def take_input(stage: Stage, peer: Peer, number: int, n: int, data: Any) -> None:
    """A client has done something."""
    stage.seats.input(peer.name, number, n, data)


@MAPS.on("call")
def call(stage: Stage, peer: Peer, rid: int, number: int, method: str, args: Any) -> None:
    """A client calls a method of the map it is in."""
    ask = Ask(stage.links, peer.name, rid)
    stage.seats.call(peer.name, number, method, args, ask.ok, ask.refuse)


@MAPS.on("again")
def again(stage: Stage, peer: Peer, number: int) -> None:
    """A client has missed something and is to be told all it sees."""
    stage.seats.again(peer.name, number)


@MAPS.on("seats")
def seats(stage: Stage, peer: Peer, rows: list[list[Any]]) -> None:
    """Whom a gateway's clients play: after a new stream, and of those who wait for their world."""
    stage.seats.announce(peer.name, rows)


@STAGE.on("players")
def players(stage: Stage) -> list[list[Any]]:
    """Give [user, place, number of the last input, state or None] of all players here."""
    return [
        [user, role.key, role.stay.input, stage.cast.snapshot(role.stay)]
        for user, role in stage.cast.roles.items()
    ]
