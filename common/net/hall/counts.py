"""What each gateway has told of its members, and whether that is all of it.

A gateway tells absolute counts; after its stream began anew it announces all its
rooms, in slices, and what it does not name then has no members there any more. A sum
over all its counts, which it sends now and then, shows what was lost on the way.

Source: docs/architecture.md, the path of a message.
"""

from __future__ import annotations

from common.net.hall.book import Book
from common.net.hall.names import NameBook
from common.net.pace import in_slices
from common.rules.room import MASK, Room

DIGEST_TRUST = 3
"""Digests in a row that must differ before a gateway is asked to tell all again."""


class Counts:
    """The counts of all gateways.

    Args:
        book: the rooms they are in.
        names: is told of every change.
    """

    def __init__(self, book: Book, names: NameBook) -> None:
        self._book = book
        self._names = names
        self._digests: dict[str, int] = {}
        self._mismatches: dict[str, int] = {}
        self._named: dict[str, set[str]] = {}
        self._leaving: dict[str, list[Room]] = {}

    def take(self, gateway: str, room: Room, count: int, listening: int) -> None:
        """Note a gateway's counts in a room."""
        named = self._named.get(gateway)
        if named is not None:
            named.add(room.key)
        self._book.fanout.told(gateway, room.key)
        self._set(gateway, room, count, listening)

    def _set(self, gateway: str, room: Room, count: int, listening: int) -> None:
        change = self._book.set_members(room, gateway, count, listening)
        self._digests[gateway] = (self._digests.get(gateway, 0) + change) & MASK
        self._names.changed(room, gateway)

    def announcing(self, gateway: str) -> None:
        """A gateway begins to tell all its rooms."""
        self._named[gateway] = set()
        self._leaving.pop(gateway, None)

    def announced(self, gateway: str) -> None:
        """It has told all: `step` takes its members out of the rooms it did not name."""
        self._book.fanout.told_all(gateway)
        named = self._named.setdefault(gateway, set())
        rooms = self._book.rooms.values()
        self._leaving[gateway] = [room for room in rooms if gateway in room.members and room.key not in named]
        self._mismatches.pop(gateway, None)

    def gone(self, gateway: str) -> None:
        """A gateway is away for good: `step` takes its members out of all rooms."""
        self.announcing(gateway)
        self.announced(gateway)

    def step(self) -> None:
        """Take those out who are to leave. Switches greenlets; what is told meanwhile counts."""
        for gateway, rooms in list(self._leaving.items()):
            for room in in_slices(rooms):
                if self._leaving.get(gateway) is not rooms:
                    break
                if room.key not in self._named[gateway] and gateway in room.members:
                    self._set(gateway, room, 0, 0)
            if self._leaving.get(gateway) is rooms:
                del self._leaving[gateway], self._named[gateway]

    def differ(self, gateway: str, digest: int) -> bool:
        """Compare a gateway's digest with ours; True when they differed several times in a row.

        One that has not told all since its stream began differs too: the end of it was lost.
        """
        fits = self._digests.get(gateway, 0) == digest and self._book.fanout.has_told(gateway)
        if gateway in self._leaving or fits:
            self._mismatches.pop(gateway, None)
            return False
        seen = self._mismatches[gateway] = self._mismatches.get(gateway, 0) + 1
        return seen % DIGEST_TRUST == 0
