"""Durable rooms coming into memory, and memory being brought up to what is stored.

A room is loaded when it is first used after a start, and again whenever memory may
not be what is stored: after an append without an answer, or a refused one. What turns
out to be stored is fanned out then, so memory never says less than Redis. A load takes
the room's ownership for the present lease; the room remembers that owner, so a new
lease term makes every room be loaded again before its next append.

Each load has a greenlet of its own, so one that hangs holds up its own room only.

Source: docs/storage.md, section 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common.errors import Conflict, Internal, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.hall.book import Book
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.tasks import Tasks
from common.rules.room import Message, Room

LOADS_AT_ONCE = 16
"""Loads under way together; each may bring up to the bytes a room keeps."""

Failure = RequestError | None
Then = Callable[[], None]
Refuse = Callable[[RequestError], None]


class Loader:
    """Loads the durable rooms of one world process.

    Args:
        book: where rooms live, and the way to gateways.
        dbservers: the store.
        owner: gives "name incarnation term" of the present lease.
        tasks: owner of the greenlets.
        ended: called with (room, failure or None) after each load.
    """

    def __init__(
        self,
        book: Book,
        dbservers: Dbservers,
        owner: Callable[[], str],
        tasks: Tasks,
        ended: Callable[[Room, Failure], None],
    ) -> None:
        self._book = book
        self._dbservers = dbservers
        self._owner = owner
        self._tasks = tasks
        self._ended = ended
        self._waiting: dict[str, Room] = {}
        self._running: set[str] = set()
        self._then: dict[str, list[tuple[Then, Refuse]]] = {}
        self._again: dict[str, Room] = {}
        self._fenced = Doubling()
        self._log = get_log()

    def trusts(self, room: Room) -> bool:
        """Tell whether memory is what is stored, and appends are allowed: loaded under the present lease."""
        return room.epoch > 0 and room.owner == self._owner()

    def busy(self, key: str) -> bool:
        """Tell whether a load of a room is under way or wanted."""
        return key in self._running or key in self._waiting

    def when_loaded(self, room: Room, then: Then, refuse: Refuse) -> None:
        """Call `then()`, at once if the room is in memory, or `refuse(why)` when it cannot be loaded."""
        if room.epoch:
            then()
            return
        self._then.setdefault(room.key, []).append((then, refuse))
        self.load(room)

    def load(self, room: Room) -> None:
        """Begin to load a room; nothing more happens if that is under way."""
        if not self.busy(room.key):
            self._waiting[room.key] = room
            self._start()

    def doubt(self, room: Room) -> None:
        """Memory may not be what is stored: `step` looks, until it succeeds."""
        room.owner = ""
        self._again[room.key] = room

    def step(self) -> None:
        """Each second: load what is in doubt, and what has members but could not be loaded."""
        for key, room in list(self._again.items()):
            if self._book.rooms.get(key) is not room or not (room.epoch or room.members):
                del self._again[key]
            else:
                self.load(room)

    def _start(self) -> None:
        while self._waiting and len(self._running) < LOADS_AT_ONCE:
            key, room = next(iter(self._waiting.items()))
            del self._waiting[key]
            self._running.add(key)
            self._tasks.spawn(f"load {key}", self._run, room)

    def _run(self, room: Room) -> None:
        failure: Failure = Internal("the room could not be loaded; see the log of the process")
        try:
            failure = self._load(room)
        finally:
            self._running.discard(room.key)
            self._start()
            self._ended(room, failure)
            for then, refuse in self._then.pop(room.key, []):
                if failure is None:
                    then()
                else:
                    refuse(failure)

    def _load(self, room: Room) -> Failure:
        """Take ownership and bring memory up to what is stored; give what went wrong."""
        rule, owner = self._book.rule(room), self._owner()
        limits = (rule.history_items, rule.history_bytes, rule.history_seconds)
        try:
            stored = self._dbservers.call("room_load", room.key, owner, *limits, room.epoch, room.offset)
        except Conflict as error:
            self._again.pop(room.key, None)
            if self._fenced.hit():
                self._log.error(
                    "room has a newer owner", room=room.key, error=error.message, count=self._fenced.count
                )
            return Unavailable("another process owns this room now")
        except RequestError as error:
            self._again[room.key] = room
            return Unavailable(f"storage is away: {error.message}")
        self._again.pop(room.key, None)
        self._bring_up(room, *stored)
        room.owner = owner
        return None

    def _bring_up(self, room: Room, epoch: int, offset: int, entries: list[list[Any]]) -> None:
        """Fan out what is stored beyond what memory has; begin anew where that is not contiguous."""
        unseen = [Message(*entry) for entry in entries if entry[0] > room.offset]
        if epoch == room.epoch and offset == room.offset + len(unseen):
            for message in unseen:
                self._book.publish(room, message)
            return
        self._book.begin(room, epoch, offset - len(entries))
        now, wall_ms = self._book.clock(), time.time() * 1000
        for entry in entries:
            message = Message(*entry)
            self._book.keep(room, message, now - max(0.0, (wall_ms - message.time) / 1000))
        self._book.fanout.sync_all(room)
