"""A map of chat rooms that can do more than chat.

Joining, messages and history are the world's own; what a map adds is methods that
members `call` with `room`, and messages of the server's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worlds.map import Map

__all__ = ["Rooms", "Visitor"]


class Visitor:
    """Who calls, and where.

    Attributes:
        uid: the user's name within the product.
        room: "map/name"; key: "product/map/name".
        count: connections in the room.
    """

    __slots__ = ("_publish", "count", "key", "uid")

    def __init__(self, uid: str, key: str, count: int, publish: Callable[[Any], None]) -> None:
        self.uid = uid
        self.key = key
        self.count = count
        self._publish = publish

    @property
    def room(self) -> str:
        """Give the room as clients name it."""
        return self.key.partition("/")[2]

    def publish(self, data: Any) -> None:
        """Say something in the room as the server; members hear it in order with all else.

        Raises:
            TypeError, ValueError, OverflowError: msgpack cannot carry it; nothing was said.
        """
        self._publish(data)


class Rooms(Map):
    """Chat. One object for each process and product-independent: what a room knows is not kept here."""
