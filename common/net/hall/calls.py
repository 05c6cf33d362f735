"""What others ask of a world process by call: center, for application servers and operators.

    publish          say something in a room, as the server or for a user
    room, rooms      what is in a room, and which there are

A room is "product/map/name"; one that is another world's is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from heapq import nsmallest
from typing import Any

from gevent.event import AsyncResult

from common.errors import BadField, NotFound, RateLimited, RequestError
from common.handlers import Handlers
from common.net.hall.appender import Appender, Entry
from common.net.hall.ask import rows
from common.net.hall.book import Book
from common.net.hall.names import NameBook
from common.net.pace import in_slices
from common.rules.limits import RateTable
from common.rules.room import Message, Recovery, Room
from common.wire.names import is_name, is_room

CALLS = Handlers("world rpc")
MESSAGES = 50
"""Messages of a room's history in an answer, unless asked for otherwise."""
PAGE_LIMIT = 1_000

Then = Callable[[Room, "Message | RequestError"], None]


class Hall:
    """The rooms of one world process, as calls see them.

    Args:
        owns: tells whether a room is this process's; raises NotFound where there is no such map.
        rate: publishes a second into one room; twice that in a burst.
    """

    def __init__(
        self, book: Book, names: NameBook, appender: Appender, owns: Callable[[str], bool], rate: float
    ) -> None:
        self.book = book
        self.names = names
        self.appender = appender
        self._owns = owns
        self._rates = RateTable(rate, 2 * rate)

    def publish(self, key: str, uid: str, name: str, data: bytes, then: Then) -> None:
        """Give a message its offset and let the members hear it; `then` is told of the room and how it ended.

        Args:
            uid: who says it; "" is the server.
            name: the publish's `key`, "" for none: said again it has the offset it had.
        """
        room, now = self.book.room(key), self.book.clock()
        wait = self._rates.take(key, now)
        if wait:
            then(room, RateLimited("too many messages into this room", after=int(wait * 1000) + 1))
            return
        now_ms = int(time.time() * 1000)
        if self.book.rule(room).durable:
            self.appender.publish(room, Entry(uid, name, data, now_ms, partial(then, room)))
            return
        message = room.repeated(uid, name, now)
        if message is None:
            message = Message(room.offset + 1, uid, name, data, now_ms)
            self.book.publish(room, message)
        then(room, message)

    def check(self, key: str) -> None:
        """Pass silently when a room is one of this process.

        Raises:
            BadField: no room, or another world's.
            NotFound: no such map.
        """
        product, _, name = key.partition("/")
        if not is_name(product) or not is_room(name):
            raise BadField("room must be product/map/name", field="room")
        if not self._owns(key):
            raise BadField("the room is another world's", field="room")

    def loaded(self, room: Room) -> None:
        """Wait until a room is in memory.

        Raises:
            Unavailable: it cannot be loaded.
        """
        result = AsyncResult()
        self.appender.loader.when_loaded(room, partial(result.set, None), result.set_exception)
        result.get()


@CALLS.on("publish")
def publish(hall: Hall, room: str, uid: str, key: str, data: bytes) -> list[int]:
    """Say something in a room; give [epoch, offset] once its members hear it (durable: Redis has it).

    Raises:
        RateLimited, Busy, Unavailable: not said, or not confirmed: repeat with the same key.
    """
    hall.check(room)
    result = AsyncResult()
    hall.publish(room, uid, key, data, lambda at, outcome: result.set((at, outcome)))
    at, outcome = result.get()
    if isinstance(outcome, RequestError):
        raise outcome
    return [at.epoch, outcome.offset]


@CALLS.on("room")
def room(hall: Hall, room: str, limit: int = MESSAGES, after: int | None = None) -> dict[str, Any]:
    """Tell of a room, with its newest messages or those that follow an offset.

    Args:
        limit: messages, at most 300 and 256 KiB; 0 for none.
        after: an offset; where what follows it is no longer kept, the oldest kept are next.

    Returns:
        epoch, offset, first (oldest kept), count (connections), users: [[uid, [[device, kind]…],
        since ms]…], [] where it is too large to name them; messages: [[offset, uid, data, ms]…];
        more: others follow them.

    Raises:
        NotFound: nobody is in it and nothing is kept of it.
        Unavailable: it is durable and storage is away.
    """
    hall.check(room)
    found = hall.book.rooms.get(room)
    if found is None and not hall.book.rule_of(room).durable:
        raise NotFound("no such room at present", field="room")
    here = found or hall.book.room(room)
    hall.loaded(here)
    if not here.offset and not here.members:
        raise NotFound("no such room at present", field="room")
    known = AsyncResult()
    hall.names.when_known(here, partial(known.set, None))
    known.get()
    told = _said(here, limit, after, hall.book.clock())
    return {
        "epoch": here.epoch,
        "offset": here.offset,
        "first": here.history.oldest,
        "count": here.count,
        "users": hall.names.listing(here),
        "messages": rows(told.messages),
        "more": told.more,
    }


def _said(room: Room, limit: int, after: int | None, now: float) -> Recovery:
    """Give messages of a room: the newest, or the next after an offset."""
    if limit < 1:
        return Recovery(True, [], False)
    if after is None:
        return room.newest(limit, now)
    room.history.expire(now)
    return room.recover(room.epoch, min(max(after, room.history.oldest - 1), room.offset), limit, now)


@CALLS.on("rooms")
def rooms(hall: Hall, product: str, after: str = "", limit: int = PAGE_LIMIT) -> list[list[Any]]:
    """Give a page of a product's rooms in memory, in order of name: [room, count, offset] each.

    Args:
        after: the last room of the page before, "" for the first.
        limit: at most so many, and at most 1,000; fewer come only at the end.
    """
    prefix, book = f"{product}/", hall.book

    def of_product() -> Iterator[str]:
        for key in in_slices(list(book.rooms)):
            if key.startswith(prefix) and key > after:
                yield key

    keys = nsmallest(min(max(limit, 1), PAGE_LIMIT), of_product())
    found = [book.rooms[key] for key in keys if key in book.rooms]
    return [[room.key, room.count, room.offset] for room in found]
