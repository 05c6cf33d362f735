"""What worlds tell a gateway of the maps its clients are in."""

from __future__ import annotations

from typing import Any

from common.errors import RequestError
from common.handlers import Handlers
from common.net.front.front import Front
from common.net.links import Peer
from common.wire.batch import pack_item
from common.wire.codec import encode
from common.wire.lines import split_key
from common.wire.names import product_of, user_key

TOLD = Handlers("gateway links of maps")


@TOLD.on("tick")
def tick(front: Front, peer: Peer, *parts: Any) -> None:
    """A tick of a map (common/wire/states.py)."""
    front.views.tick(*parts)


@TOLD.on("entered")
def entered(
    front: Front,
    peer: Peer,
    number: int,
    uid: str,
    body: dict[str, Any],
    columns: int,
    rows: int,
    key: str,
    route: int,
) -> None:
    """A client's world is back, or its player came to this one: it has let it in.

    Where there is no such client any more, the world hears so: it left, or its connection broke.
    """
    connection = front.connections.get(number)
    is_here = connection is not None and connection.user == user_key(product_of(key), uid)
    seat = connection.seat if connection is not None and is_here else None
    if connection is None or seat is None:
        front.process.links.send(peer.name, pack_item(["exit", 0, number, not is_here, uid]))
    elif seat.world == peer.name or route > seat.route:
        front.views.placed(seat, columns, rows, key, peer.name, route)
        connection.send(encode("entered", 0, body))


@TOLD.on("elsewhere")
def elsewhere(front: Front, peer: Peer, number: int, key: str, place: str) -> None:
    """A client's player is not in this line (any more), but there."""
    connection = front.connections.get(number)
    seat = connection.seat if connection is not None else None
    if seat is None or (seat.key, seat.world) != (key, peer.name):
        return
    try:
        world = front.process.places.host_of(*split_key(place))
    except RequestError:
        unseat(front, peer, number, key)
    else:
        front.views.elsewhere(seat, place, world)


@TOLD.on("unseat")
def unseat(front: Front, peer: Peer, number: int, key: str) -> None:
    """A client is in a map no more: another one plays its player, or it was not let in again."""
    connection = front.connections.get(number)
    seat = connection.seat if connection is not None else None
    if connection is not None and seat is not None and (seat.key, seat.world) == (key, peer.name):
        front.views.leave(connection)
        connection.send(encode("entered", 0, {"map": seat.map, "away": True}))
