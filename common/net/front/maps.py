"""Ops of maps: `enter`, `input`, `exit`, `call`.

All go to the map's world by link, so what a client sends right behind its `enter` comes
there right behind it. `call` with `room` goes to the room's world.

Source: docs/protocol.md, sections 4 and 6.
"""

from __future__ import annotations

from typing import Any

from common.errors import (
    BadField,
    Busy,
    Conflict,
    Forbidden,
    NotFound,
    NotJoined,
    RequestError,
    Unavailable,
)
from common.net.front.connection import Connection
from common.net.front.front import OPS, Front
from common.net.front.requests import Request, item
from common.net.front.views import Seat
from common.net.front.whereabouts import member_of
from common.wire.batch import pack_item
from common.wire.lines import line_key, parse_line, split_key
from common.wire.names import area_key, map_of, product_of, uid_of

HOPS = 4
"""Lines one `enter` is sent on to; a player on its way may be a step ahead."""
MATCHES = "match."
"""How methods of matchmaking begin; they need no `enter` (docs/matches.md)."""


@OPS.on("enter")
def enter(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Go into a map; the answer says where and as whom, and what is around follows as `state`."""
    if not connection.rights.has_scope("enter"):
        raise Forbidden("the token does not allow to enter maps")
    if connection.seat is not None:
        raise Conflict("in a map already; exit it first", field="map")
    uid = uid_of(connection.user)
    key, world = _line_of(front, area_key(product_of(connection.user), fields["map"]), uid, fields["line"])
    if connection.closed:
        return
    if connection.seat is not None:
        raise Conflict("two entered at once", field="map")
    asking = item("enter", key, connection.number, uid, fields["data"])
    limit = front.settings.input_bytes
    if len(pack_item(asking(0))) > limit:
        raise BadField("too large", field="data", limit=limit)
    seat = front.views.take(connection, key, world, fields["data"])
    try:
        front.forward(connection, number, world, _entered, asking, _refused, seat)
    except RequestError:
        front.views.leave(connection)
        raise


def _line_of(front: Front, area: str, uid: str, wish: str | None) -> tuple[str, str]:
    """Give (key, world process) of the line a user is to go to; may block for an answer of function.

    Raises:
        BadField, NotFound: there is no such map or line, or the map has no places.
        Full, Unavailable: nobody is let in, for now.
    """
    places, map_name = front.process.places, map_of(area)
    places.home_of(area)
    if not front.process.settings.world.maps.get(map_name):
        raise NotFound("this map cannot be entered", field="map")
    line = parse_line(front.desk.place(area, wish=str(parse_line(wish)) if wish else "", who=uid))
    return line_key(area, line), places.host_of(area, line)


def _entered(request: Request, value: list[Any]) -> None:
    seat: Seat = request.subject
    if request.connection.seat is seat:
        body, columns, rows, key, route = value
        seat.views.placed(seat, columns, rows, key, request.peer, route)
        request.connection.reply(request.number, body)


def _refused(request: Request, error: RequestError) -> None:
    """It is not in, or nobody knows: then it is out, too. One that is in another line is asked for there."""
    connection, seat = request.connection, request.connection.seat
    if seat is None or seat is not request.subject:
        return
    place = error.facts.get("place")
    if isinstance(error, Conflict) and place and seat.hops < HOPS:
        try:
            _ask_elsewhere(request, seat, place)
            return
        except RequestError as other:
            error = other
    connection.front.views.lost(connection, True)
    connection.refuse(request.number, error)


def _ask_elsewhere(request: Request, seat: Seat, place: str) -> None:
    connection = request.connection
    area, line = split_key(place)
    world = connection.front.process.places.host_of(area, line)
    connection.front.views.move(seat, place, world)
    seat.hops += 1
    asking = item("enter", place, connection.number, uid_of(connection.user), seat.data)
    connection.front.forward(connection, request.number, world, _entered, asking, _refused, seat)


@OPS.on("input")
def take_input(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Do something in the map; a later `state` says that it was applied."""
    seat = connection.seat
    if seat is None:
        raise NotJoined("not in a map")
    if seat.away:
        raise Unavailable("the map is away")
    packed = pack_item(["input", connection.number, fields["n"], fields["data"]])
    if len(packed) > front.settings.input_bytes:
        raise BadField("too large", field="data", limit=front.settings.input_bytes)
    if front.process.links.send(seat.world, packed):
        return
    if front.process.links.up(seat.world):
        raise Busy("the way to the map is full")
    raise Unavailable("the map is away")


@OPS.on("exit")
def exit_map(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Leave the map."""
    seat = connection.seat
    if seat is None:
        raise NotJoined("not in a map")
    asking = item("exit", connection.number, False)
    try:
        front.forward(connection, number, seat.world, _exited, asking, _exit_failed, seat)
    except RequestError:
        front.views.lost(connection, True)
        raise


def _exited(request: Request, value: Any) -> None:
    """Out; where its player was moved meanwhile, its world is to know."""
    seat = request.connection.seat
    if seat is not None and seat is request.subject:
        if seat.world == request.peer:
            seat.views.leave(request.connection)
        else:
            seat.views.lost(request.connection, True)
    request.connection.reply(request.number, {})


def _exit_failed(request: Request, error: RequestError) -> None:
    """Its world is out of touch, or late: out it is all the same."""
    if request.connection.seat is request.subject:
        request.connection.front.views.lost(request.connection, True)
    request.connection.refuse(request.number, error)


@OPS.on("call")
def call(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Ask something of the map one is in, or of a room one is a member of."""
    method, args = fields["method"], fields["args"]
    if fields["room"] is not None:
        room = member_of(front, connection, fields["room"])
        if room is None:
            raise NotJoined("not in this room", field="room")
        asking, world = item("ask", room.key, uid_of(connection.user), method, args), room.world
    elif method.startswith(MATCHES):
        if not connection.rights.has_scope("enter"):
            raise Forbidden("the token does not allow to enter maps")
        product = product_of(connection.user)
        world = front.process.places.home_of(area_key(product, fields["map"]))
        asking = item("match", product, uid_of(connection.user), method, args)
    else:
        seat = connection.seat
        if seat is None or seat.map != fields["map"]:
            raise NotJoined("not in this map", field="map")
        if seat.away:
            raise Unavailable("the map is away")
        asking, world = item("call", connection.number, method, args), seat.world
    front.limit_publish(connection)
    front.forward(connection, number, world, _result, asking)


def _result(request: Request, value: Any) -> None:
    request.connection.reply(request.number, {"result": value})
