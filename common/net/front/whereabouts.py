"""Where a request goes: the world of a room, the sessions of users, and asking several at once."""

from __future__ import annotations

from typing import Any

from gevent.event import AsyncResult

from common.errors import Busy, DeadlineExceeded, Unavailable
from common.net.front.connection import Connection
from common.net.front.front import Front
from common.net.front.mirror import MirrorRoom
from common.net.front.requests import Item
from common.wire.names import product_of

PATIENCE = 0.8
"""Share of a request's time that is spent waiting for those asked together."""


def map_room(front: Front, connection: Connection, name: str) -> tuple[str, str]:
    """Give (key, world) of a room as the client names it.

    Raises:
        NotFound: no such map.
    """
    key = f"{product_of(connection.user)}/{name}"
    return key, front.process.places.world_of(key)


def member_of(front: Front, connection: Connection, name: str) -> MirrorRoom | None:
    """Give the room a connection is a member of, or None."""
    room = front.mirror.rooms.get(f"{product_of(connection.user)}/{name}")
    return room if room is not None and connection in room.members else None


def by_session(front: Front, connection: Connection, uids: list[str]) -> dict[str, list[str]]:
    """Give session process -> users ("product/uid") it owns, each once."""
    product = product_of(connection.user)
    shards: dict[str, list[str]] = {}
    for uid in dict.fromkeys(uids):
        user = f"{product}/{uid}"
        shards.setdefault(front.process.places.session_of(user), []).append(user)
    return shards


def ask_all(front: Front, connection: Connection, items: dict[str, Item]) -> dict[str, Any]:
    """Ask several processes at once; give process -> its answer, or the error there was instead.

    A process that does not answer leaves time to answer the client with what the others said.
    """
    until = front.now + PATIENCE * front.settings.request_timeout
    asked: dict[str, AsyncResult] = {}
    answers: dict[str, Any] = {}
    for name, one in items.items():
        try:
            asked[name] = front.ask(connection, name, one)
        except (Unavailable, Busy) as error:
            answers[name] = error
    for name, result in asked.items():
        result.wait(max(until - front.now, 0.0))
        if not result.ready():
            answers[name] = DeadlineExceeded(f"{name} did not answer in time")
            continue
        try:
            answers[name] = result.get()
        except (Unavailable, Busy, DeadlineExceeded) as error:
            answers[name] = error
    return answers
