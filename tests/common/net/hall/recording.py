"""Stand-ins around the world's parts: links that remember, a clock that is told the time."""

from __future__ import annotations

from typing import Any

import msgpack

from common.net.hall.book import Book
from common.net.hall.fanout import COUNTERS, Fanout
from common.net.metrics import Counters
from common.rules.room import Message, Room
from common.settings import RoomRule, World

DURABLE = RoomRule(pattern="plaza/keep.*", durable=True, history_items=100)


class Clock:
    """Monotonic seconds that move when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class RecordingLinks:
    """Remembers what was sent to whom; `down` and `full` refuse, as Links does."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, list[Any]]] = []
        self.down: set[str] = set()
        self.full: set[str] = set()

    def up(self, name: str) -> bool:
        return name not in self.down

    def send(self, name: str, item: bytes) -> bool:
        if name in self.down | self.full:
            return False
        self.sent.append((name, msgpack.unpackb(item)))
        return True

    def take(self, *kinds: str) -> list[tuple[str, list[Any]]]:
        """Give what was sent since the last time, of these kinds (all when none is named)."""
        sent, self.sent = self.sent, []
        return [(name, item) for name, item in sent if not kinds or item[0] in kinds]

    def kinds(self) -> list[tuple[str, str]]:
        """The same, as (to whom, kind)."""
        return [(name, item[0]) for name, item in self.take()]


def make_book(links: RecordingLinks, clock: Clock, *rules: RoomRule, **settings: Any) -> Book:
    """Make a book over these stand-ins; keywords are settings of the world."""
    counters = Counters("world")
    counters.declare(COUNTERS)
    world = World(rooms=(*rules, DURABLE), **settings)
    return Book(world, Fanout(links, counters), counters, clock)  # type: ignore[arg-type]


def never(_key: str) -> bool:
    return False


def always(_key: str) -> bool:
    return True


def say(book: Book, room: Room, data: bytes = b"x") -> Message:
    message = Message(room.offset + 1, "ann", "", data, 5)
    book.publish(room, message)
    return message


def join(book: Book, key: str, **counts: int) -> Room:
    """Give a room with so many members on each gateway: gateway_0=2 …"""
    room = book.room(key)
    for gateway, count in counts.items():
        book.set_members(room, gateway.replace("_", "-"), count, 0)
    return room
