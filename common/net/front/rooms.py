"""Ops of rooms: `join`, `leave`, `publish`, `history`.

All go to the room's world by link and are answered in its stream. While a join is
under way, what the client sends for that room waits behind it, so the order it was
sent in is the order it is carried out in.

Source: docs/protocol.md, sections 4 and 6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from common.errors import DeadlineExceeded, Forbidden, Full, NotJoined, RequestError
from common.net.front.connection import Connection
from common.net.front.front import OPS, Front
from common.net.front.mirror import MirrorRoom
from common.net.front.requests import Failed, Finisher, Request, item
from common.net.front.whereabouts import map_room, member_of
from common.wire.codec import encode_messages, pack


def allow(connection: Connection, action: str, room: str) -> None:
    """Pass silently when the token allows an action in a room ("map/name").

    Raises:
        Forbidden: it does not.
    """
    if not connection.rights.may_room(action, room):
        raise Forbidden(f"the token does not allow to {action} here", field="room")


@OPS.on("join")
def join(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Become a member; the reply carries what was missed since `since`."""
    name, since, listens = fields["room"], fields["since"], fields["presence"]
    allow(connection, "join", name)
    key, world = map_room(front, connection, name)
    limit = front.settings.rooms_per_connection
    is_member = member_of(front, connection, name) is not None
    if not is_member and len(connection.rooms) + len(connection.joining) >= limit:
        raise Full("too many rooms", limit=limit, field="room")
    at = [since["epoch"], since["offset"]] if since else None
    ask_join(front, connection, number, (key, world), at, listens, _joined, _join_failed)
    connection.joining[name] = []


class Joining(NamedTuple):
    """A join under way: `counted` when it made the room's count one more."""

    room: MirrorRoom
    listens: bool
    counted: bool


def ask_join(
    front: Front,
    connection: Connection,
    number: int,
    place: tuple[str, str],
    at: list[int] | None,
    listens: bool,
    finish: Finisher,
    fail: Failed,
) -> None:
    """Ask a room's world to let a connection in; the request's subject is a Joining.

    Args:
        place: (key of the room, its world).
        finish: must begin with `take_in`.
        fail: must begin with `keep_out`.

    Raises:
        Unavailable, Busy: nothing was sent, neither will be called.
    """
    key, world = place
    room = front.mirror.room(key, world)
    counted = connection not in room.members
    room.joining += counted
    counts = (room.count, room.listening + listens - room.members.get(connection, False))
    asking = item("join", key, counts, at, listens)
    try:
        front.forward(connection, number, world, finish, asking, fail, Joining(room, listens, counted))
    except RequestError:
        room.joining -= counted
        front.mirror.mark(room)
        raise
    front.mirror.told(room, counts)


def take_in(request: Request, value: list[Any]) -> bool:
    """Put a member in at this place of the stream; False when its connection has ended."""
    joining: Joining = request.subject
    connection, mirror = request.connection, request.connection.front.mirror
    joining.room.joining -= joining.counted
    if connection.closed:
        mirror.mark(joining.room)
        return False
    mirror.enter(joining.room, connection, joining.listens, value[0], value[1])
    return True


def keep_out(request: Request) -> None:
    """A join failed: the room counts one less."""
    joining: Joining = request.subject
    joining.room.joining -= joining.counted
    request.connection.front.mirror.mark(joining.room)


def _joined(request: Request, value: list[Any]) -> None:
    """Put the member in at this place of the stream, then answer."""
    if not take_in(request, value):
        return
    room, connection = request.subject.room, request.connection
    epoch, offset, recovered, messages, more, count = value
    body = {"room": room.name, "epoch": epoch, "offset": offset, "recovered": recovered}
    body |= {"more": more, "count": count}
    if request.number:
        connection.send(encode_messages(request.number, body, room.name, messages))
    _go_on(connection.front, connection, room)


def _join_failed(request: Request, error: RequestError) -> None:
    """Refuse; what has waited behind a world that does not answer has waited long enough."""
    keep_out(request)
    connection, room = request.connection, request.subject.room
    connection.refuse(request.number, error)
    if isinstance(error, DeadlineExceeded):
        for packet in connection.joining.pop(room.name, []):
            connection.refuse(packet.id, error)
    _go_on(connection.front, connection, room)


def _go_on(front: Front, connection: Connection, room: MirrorRoom) -> None:
    """Carry out what has waited behind the join; another join among it takes the rest along."""
    for packet in connection.joining.pop(room.name, []):
        if not connection.closed:
            front.dispatch(connection, packet)


@OPS.on("leave")
def leave(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Be a member no longer."""
    room = member_of(front, connection, fields["room"])
    if room is None:
        raise NotJoined("not in this room", field="room")
    front.mirror.leave(room, connection)
    return {}


@OPS.on("publish")
def publish(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Say something in a room; answered when its world (durable: Redis) has it."""
    name = fields["room"]
    room = member_of(front, connection, name)
    if room is None:
        raise NotJoined("not in this room", field="room")
    allow(connection, "publish", name)
    front.limit_publish(connection)
    uid = connection.user.partition("/")[2]
    key, data = fields["key"] or "", pack(fields["data"])
    front.forward(connection, number, room.world, _published, item("publish", room.key, uid, key, data))


def _published(request: Request, value: list[Any]) -> None:
    epoch, offset = value
    request.connection.reply(request.number, {"epoch": epoch, "offset": offset})


@OPS.on("history")
def history(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> None:
    """Read what a room keeps; membership is not needed."""
    name, since, limit = fields["room"], fields["since"], fields["limit"]
    allow(connection, "history", name)
    key, world = map_room(front, connection, name)
    at = [since["epoch"], since["offset"]] if since else None
    front.forward(connection, number, world, _history, item("history", key, at, limit), None, name)


def _history(request: Request, value: list[Any]) -> None:
    epoch, offset, first, recovered, messages, more = value
    body = {"epoch": epoch, "offset": offset, "first": first, "recovered": recovered, "more": more}
    if request.number:
        request.connection.send(encode_messages(request.number, body, request.subject, messages))
