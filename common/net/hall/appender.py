"""Publishing into durable rooms: Redis has it before anybody hears of it.

What gathered while the last write was under way goes as one append of many rooms.
A room is appended to only while memory is what is stored (Loader); what waits for a
room that cannot be loaded is refused. An append that was refused, or whose answer did
not come, puts its rooms in doubt: they are loaded again, and what turns out to be
stored is fanned out then.

Source: docs/storage.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from gevent.event import Event

from common.errors import Busy, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.hall.book import Book
from common.net.hall.loader import Failure, Loader
from common.net.tasks import Tasks
from common.rules.room import MESSAGE_OVERHEAD, Message, Room

Outcome = Callable[[Message | RequestError], None]
"""Called once per publish: with the stored message, or with why it was not confirmed."""
Then = Callable[[], None]


class Entry(NamedTuple):
    """One message that waits to be stored."""

    uid: str
    key: str
    data: bytes
    time: int
    done: Outcome

    @property
    def size(self) -> int:
        """Bytes it counts for while it waits."""
        return len(self.data) + MESSAGE_OVERHEAD


class Queue(NamedTuple):
    """What waits to be stored in one room, and what is to be done behind it."""

    room: Room
    entries: list[Entry]
    behind: list[Then]


class Batch(NamedTuple):
    """What is being stored in one room: one message for each group of entries with the same key."""

    room: Room
    groups: list[list[Entry]]
    behind: list[Then]


class Appender:
    """The durable rooms of one world process.

    Args:
        book: where rooms live, and the way to gateways.
        dbservers: the store.
        owner: gives "name incarnation term" of the present lease.
        tasks: owner of the greenlets.
        limit: bytes that may wait; above it a publish is Busy.

    Attributes:
        loader: what brings rooms into memory.
        queued_bytes: what waits, or is being stored.
    """

    def __init__(
        self, book: Book, dbservers: Dbservers, owner: Callable[[], str], tasks: Tasks, limit: int
    ) -> None:
        self._book = book
        self._dbservers = dbservers
        self._owner = owner
        self._limit = limit
        self._wake = Event()
        self._queued: dict[str, Queue] = {}
        self._writing: dict[str, Batch] = {}
        self.loader = Loader(book, dbservers, owner, tasks, self._load_ended)
        self.queued_bytes = 0

    def busy(self, key: str) -> bool:
        """Tell whether something of a room is under way, so that it must stay in memory."""
        return key in self._queued or key in self._writing or self.loader.busy(key)

    def publish(self, room: Room, entry: Entry) -> None:
        """Queue a message; `entry.done` tells the end, at once with Busy when too much waits already."""
        if self.queued_bytes + entry.size > self._limit:
            entry.done(Busy("too many messages wait for storage", limit=self._limit))
            return
        self.queued_bytes += entry.size
        self._queued.setdefault(room.key, Queue(room, [], [])).entries.append(entry)
        self._wake.set()

    def after(self, room: Room, then: Then) -> None:
        """Call `then()` once all that was published into a room until now has ended; at once when it has."""
        last = self._queued.get(room.key) or self._writing.get(room.key)
        if last is None:
            then()
        else:
            last.behind.append(then)

    def run(self) -> None:
        """Store what waits, batch after batch, for ever."""
        while True:
            self._wake.wait()
            self._wake.clear()
            self.step()

    def step(self) -> None:
        """Append what has gathered for rooms that are up to date; have the others loaded."""
        batches = []
        for key, (room, entries, behind) in list(self._queued.items()):
            if not self.loader.trusts(room):
                self.loader.load(room)
                continue
            del self._queued[key]
            groups = self._unknown(room, entries)
            if groups:
                batches.append(Batch(room, groups, behind))
            else:
                go_on(behind)
        if batches:
            self._append(batches)

    def _load_ended(self, room: Room, failure: Failure) -> None:
        """A room is up to date, or what waits for it is refused."""
        if failure is None:
            self._wake.set()
            return
        queue = self._queued.pop(room.key, None)
        if queue is not None:
            self._end(queue.entries, failure)
            go_on(queue.behind)

    def _unknown(self, room: Room, entries: list[Entry]) -> list[list[Entry]]:
        """Answer those stored before under their key; give the rest, those of one key together."""
        groups: dict[Hashable, list[Entry]] = {}
        for number, entry in enumerate(entries):
            known = room.repeated(entry.uid, entry.key, self._book.clock())
            if known is not None:
                self._end([entry], known)
            else:
                groups.setdefault((entry.uid, entry.key) if entry.key else number, []).append(entry)
        return list(groups.values())

    def _append(self, batches: list[Batch]) -> None:
        """Store batches of different rooms in one go; tell everybody how it ended."""
        owner = self._owner()
        appends = [self._packed(batch) for batch in batches]
        self._writing = {batch.room.key: batch for batch in batches}
        try:
            outcomes = self._dbservers.call("room_append", owner, appends)
        except RequestError as error:
            outcomes = [[f"storage is away: {error.message}", 0]] * len(batches)
        finally:
            self._writing = {}
        for batch, (status, offset) in zip(batches, outcomes, strict=True):
            if status == "ok" and owner == self._owner():
                self._confirm(batch, offset)
            else:
                self._doubt(batch, status)
            go_on(batch.behind)

    def _doubt(self, batch: Batch, status: str) -> None:
        self.loader.doubt(batch.room)
        refusal = Unavailable(f"not confirmed ({status}); repeat with the same key")
        for group in batch.groups:
            self._end(group, refusal)

    def _packed(self, batch: Batch) -> list[Any]:
        rule, room = self._book.rule(batch.room), batch.room
        messages = [[entry.uid, entry.key, entry.data, entry.time] for entry, *_ in batch.groups]
        limits = (rule.history_items, rule.history_bytes, rule.history_seconds)
        return [room.key, room.offset, messages, *limits]

    def _confirm(self, batch: Batch, offset: int) -> None:
        for number, group in enumerate(batch.groups, offset - len(batch.groups) + 1):
            entry = group[0]
            message = Message(number, entry.uid, entry.key, entry.data, entry.time)
            self._book.publish(batch.room, message)
            self._end(group, message)

    def _end(self, entries: list[Entry], outcome: Message | RequestError) -> None:
        for entry in entries:
            self.queued_bytes -= entry.size
            entry.done(outcome)


def go_on(behind: list[Then]) -> None:
    """Do what has waited behind publishes."""
    for then in behind:
        then()
