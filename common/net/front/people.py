"""Ops about people: `presence`, `watch`, `profile`, `send`.

Users are spread over session processes; what touches several asks each once and
waits for all, in the greenlet of the connection.

Source: docs/protocol.md, sections 4 and 6.
"""

from __future__ import annotations

import time
from typing import Any

from common.errors import Busy, Forbidden, Full, RequestError
from common.net.front.connection import Connection
from common.net.front.front import OPS, Front
from common.net.front.keeping import keep
from common.net.front.requests import Request, item
from common.net.front.rooms import allow
from common.net.front.whereabouts import ask_all, by_session, map_room
from common.wire.batch import pack_item
from common.wire.codec import pack
from common.wire.names import product_of, uid_of


def need(connection: Connection, scope: str) -> None:
    """Pass silently when the token has a scope.

    Raises:
        Forbidden: it has not.
    """
    if not connection.rights.has_scope(scope):
        raise Forbidden(f"the token does not have the scope {scope}")


def where(front: Front, connection: Connection, uids: list[str]) -> list[list[Any]]:
    """Ask who is online: [user, online (None: unknown), [[device, kind]…], since ms] each."""
    shards = by_session(front, connection, uids)
    answers = ask_all(front, connection, {session: item("where", users) for session, users in shards.items()})
    rows: list[list[Any]] = []
    for session, answer in answers.items():
        rows += unknown(shards[session]) if isinstance(answer, RequestError) else answer
    return rows


def unknown(users: list[str]) -> list[list[Any]]:
    """Give rows for users whose presence cannot be known now."""
    return [[user, None, [], 0] for user in users]


def devices_body(devices: list[list[str]]) -> list[dict[str, str]]:
    """Give devices as the protocol has them."""
    return [{"device": device, "kind": kind} for device, kind in devices]


@OPS.on("presence")
def presence(
    front: Front, connection: Connection, number: int, fields: dict[str, Any]
) -> dict[str, Any] | None:
    """Tell who is in a room, or which users are online."""
    if fields["room"] is not None:
        _room_presence(front, connection, number, fields["room"])
        return None
    need(connection, "watch")
    rows = where(front, connection, fields["users"])
    users = [
        {"uid": uid_of(user), "devices": devices_body(devices), "since": since}
        for user, online, devices, since in rows
        if online
    ]
    missing = [uid_of(user) for user, online, _devices, _since in rows if online is None]
    return {"count": len(users), "users": users, "unknown": missing}


def _room_presence(front: Front, connection: Connection, number: int, name: str) -> None:
    allow(connection, "presence", name)
    key, world = map_room(front, connection, name)
    front.mirror.tell(world)
    front.forward(connection, number, world, _present, item("presence", key))


def _present(request: Request, value: list[Any]) -> None:
    count, rows = value
    users = [{"uid": uid, "devices": devices_body(devices), "since": since} for uid, devices, since in rows]
    request.connection.reply(request.number, {"count": count, "users": users, "unknown": []})


@OPS.on("watch")
def watch(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Hear of users coming online and going offline; the reply says how it is now."""
    need(connection, "watch")
    uids = fields["users"]
    product = product_of(connection.user)
    users = [f"{product}/{uid}" for uid in dict.fromkeys(uids)]
    if fields["off"]:
        front.unwatch(connection, users)
        return {"users": [{"uid": uid_of(user), "online": None} for user in users]}
    watching = connection.watching if connection.watching is not None else set()
    limit = front.settings.watches_per_connection
    if len(watching.union(users)) > limit:
        raise Full("too many users watched", limit=limit, field="users")
    connection.watching = watching
    for session, shard in by_session(front, connection, uids).items():
        new = [user for user in shard if user not in front.watchers]
        _begin_watch(front, session, new)
        for user in shard:
            watching.add(user)
            front.watchers.setdefault(user, set()).add(connection)
    rows = where(front, connection, uids)
    return {"users": [{"uid": uid_of(user), "online": online} for user, online, *_rest in rows]}


def _begin_watch(front: Front, session: str, users: list[str]) -> None:
    """Tell a session process whom somebody watches now; one that is away hears of all when it is back.

    Raises:
        Busy: it would never hear of them.
    """
    links = front.process.links
    if users and not links.send(session, pack_item(["watch", users, False])) and links.up(session):
        raise Busy(f"the way to {session} is full")


@OPS.on("profile")
def profile(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Set one's own name and profile, or read those of others."""
    process = front.process
    if fields["set"] is not None:
        need(connection, "profile")
        front.limit_publish(connection)
        changes = dict(fields["set"])
        name = changes.pop("name", None)
        function = process.places.function_of(connection.user)
        stored = process.callers.call(function, "profile_set", connection.user, name, changes)
        rows = [[connection.user, *stored]]
    else:
        product = product_of(connection.user)
        own = uid_of(connection.user)
        uids = fields["users"] if fields["users"] is not None else [own]
        users = [f"{product}/{uid}" for uid in dict.fromkeys(uids)]
        function = process.places.function_of(connection.user)
        rows = process.callers.call(function, "profile_get", users)
    return {"users": [{"uid": uid_of(user), "name": name, "profile": body} for user, name, body in rows]}


@OPS.on("send")
def send(front: Front, connection: Connection, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """Send to users where they are now, or, with `keep`, to their mailboxes too.

    `online` is of those that can be reached: sent again because some session is away, the
    message would come twice to the others.
    """
    need(connection, "send")
    front.limit_publish(connection)
    if fields["keep"]:
        return keep(front, connection, fields)
    mid = front.ids.take()
    message = (mid, uid_of(connection.user), pack(fields["data"]), int(time.time() * 1000))
    shards = by_session(front, connection, fields["to"])
    items = {session: item("send", users, *message) for session, users in shards.items()}
    answers = ask_all(front, connection, items).values()
    reached = [answer for answer in answers if not isinstance(answer, RequestError)]
    if not reached:
        raise next(iter(answers))
    return {"mid": mid, "online": sum(reached)}
