"""Who is in a room, by name: asked of the gateways when somebody wants to know.

A room of at most `presence_members` connections in which a member listens keeps a
roster; so does one somebody asked about, for a minute. Larger rooms are only
counted, and listeners hear the count once a second when it has changed by 1 %.

A request that needs names waits for the gateways that have a link and have not told
theirs, at most `WAIT_SECONDS`; a join of a listener does so too, so that each change
after its answer is told. What a late gateway names first was there before: it is
nobody's coming.

Source: docs/protocol.md, section 6, presence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common.net.hall.book import Book
from common.net.links import Links
from common.rules.room import Room
from common.rules.roster import Roster, Seat
from common.rules.wheel import Wheel
from common.settings import World as WorldSettings
from common.wire.batch import pack_item

WAIT_SECONDS = 1.0
"""How long a request waits for gateways to name their members before it goes on with those that did."""
KEPT_SECONDS = 60.0
"""How long a roster lives after it was last asked for, when nobody listens."""
COUNT_CHANGE = 0.01

Then = Callable[[], None]


class _Names:
    """A room's roster, who was asked for it in which stream, and what waits for it."""

    __slots__ = ("asked", "key", "roster", "used_at", "wait_until", "waiting")

    def __init__(self, key: str, roster: Roster, now: float) -> None:
        self.key = key
        self.roster = roster
        self.asked: dict[str, int] = {}
        self.waiting: list[Then] = []
        self.wait_until = now + WAIT_SECONDS
        self.used_at = now


class NameBook:
    """The rosters of the rooms that have one.

    Args:
        settings: up to which size rooms name their members.
        book: the rooms.
        links: the way to gateways.
    """

    def __init__(self, settings: WorldSettings, book: Book, links: Links) -> None:
        self._settings = settings
        self._book = book
        self._links = links
        self._names: dict[str, _Names] = {}
        self._waiting: dict[str, _Names] = {}
        self._unasked: dict[str, set[str]] = {}
        self._unused: Wheel[_Names] = Wheel(1.0, 120, book.clock())
        self._streams: dict[str, int] = {}
        self._grown: set[str] = set()
        self._told: dict[str, int] = {}

    def too_large(self, room: Room) -> bool:
        """Tell whether the room is only counted now; it returns to names at a smaller size."""
        limit = self._settings.presence_return if room.key in self._grown else self._settings.presence_members
        if room.count > limit:
            self._grown.add(room.key)
            self._forget(room.key)
            return True
        self._grown.discard(room.key)
        return False

    def when_known(self, room: Room, then: Then) -> None:
        """Call `then` once the members are known by name, at once if they are or the room is too large."""
        if self.too_large(room):
            then()
            return
        names = self._names.get(room.key) or self._begin(room)
        names.used_at = self._book.clock()
        if self._known(names):
            then()
        else:
            names.waiting.append(then)
            self._waiting[room.key] = names

    def _begin(self, room: Room) -> _Names:
        """Ask all gateways with members for their names."""
        now = self._book.clock()
        names = self._names[room.key] = _Names(room.key, Roster(room.members), now)
        self._unused.add(now + KEPT_SECONDS, names)
        for gateway in room.members:
            self._ask(names, gateway)
        return names

    def _known(self, names: _Names) -> bool:
        """Tell whether nothing more is to be waited for."""
        if self._book.clock() >= names.wait_until:
            return True
        return not any(self._links.up(gateway) for gateway in names.roster.awaited)

    def listing(self, room: Room) -> list[Any]:
        """Give the users of a room as the `presence` reply has them; [] where it is too large."""
        names = self._names.get(room.key)
        return [list(user) for user in names.roster.listing()] if names is not None else []

    def changed(self, room: Room, gateway: str) -> None:
        """A gateway's counts changed: see that it is asked for names where they are kept."""
        names = self._names.get(room.key)
        if names is None or self.too_large(room):
            return
        if gateway not in room.members:
            self.take(room, gateway, [])
            names.asked.pop(gateway, None)
        elif not self._is_asked(names, gateway):
            self._ask(names, gateway)

    def take(self, room: Room, gateway: str, seats: list[list[Any]]) -> None:
        """Take a gateway's list; listeners hear who came and who went."""
        names = self._names.get(room.key)
        if names is None:
            self._links.send(gateway, pack_item(["roster", room.key, False]))
            return
        came, went = names.roster.take(gateway, [Seat(*seat) for seat in seats])
        if room.listening:
            for kind, uids in (("joined", came), ("left", went)):
                for uid in uids:
                    self._book.fanout.send_all(
                        room, ["event", room.key, kind, uid, room.count], listeners_only=True
                    )
        if names.waiting and self._known(names):
            self._release(names)

    def ask_again(self, gateway: str) -> None:
        """A gateway's stream began anew: it has forgotten which names were wanted."""
        self._streams[gateway] = self._streams.get(gateway, 0) + 1

    def catch_up(self) -> None:
        """Ask where a queue was full; let requests go on that waited long, or for a gateway that is gone."""
        for gateway, keys in list(self._unasked.items()):
            del self._unasked[gateway]
            for key in keys:
                room = self._book.rooms.get(key)
                if room is not None:
                    self.changed(room, gateway)
        for names in list(self._waiting.values()):
            if self._known(names):
                self._release(names)

    def step(self) -> None:
        """Each second: drop unused rosters, tell changed counts."""
        now = self._book.clock()
        for names in self._unused.advance(now):
            if self._names.get(names.key) is not names:
                continue
            room = self._book.rooms.get(names.key)
            if room is None or (not room.listening and now - names.used_at >= KEPT_SECONDS):
                self._forget(names.key)
            else:
                self._unused.add(now + KEPT_SECONDS, names)
        for key in list(self._grown):
            self._tell_count(key)

    def _tell_count(self, key: str) -> None:
        room = self._book.rooms.get(key)
        if room is None:
            self._grown.discard(key)
            self._told.pop(key, None)
            return
        if not self.too_large(room):
            self._told.pop(key, None)
            if room.listening:
                self.when_known(room, lambda: None)
            return
        told = self._told.get(key, 0)
        if room.listening and abs(room.count - told) >= max(1.0, told * COUNT_CHANGE):
            self._told[key] = room.count
            self._book.fanout.send_all(room, ["event", key, "count", "", room.count], listeners_only=True)

    def _release(self, names: _Names) -> None:
        waiting, names.waiting = names.waiting, []
        self._waiting.pop(names.key, None)
        for then in waiting:
            then()

    def _forget(self, key: str) -> None:
        names = self._names.pop(key, None)
        if names is None:
            return
        for gateway in names.asked:
            if self._is_asked(names, gateway):
                self._links.send(gateway, pack_item(["roster", key, False]))
        self._release(names)

    def _is_asked(self, names: _Names, gateway: str) -> bool:
        return names.asked.get(gateway) == self._streams.get(gateway, 0)

    def _ask(self, names: _Names, gateway: str) -> None:
        """Ask a gateway for its names; one whose queue is full soon, one without a link when it announces."""
        if self._links.send(gateway, pack_item(["roster", names.key, True])):
            names.asked[gateway] = self._streams.get(gateway, 0)
        elif self._links.up(gateway):
            self._unasked.setdefault(gateway, set()).add(names.key)
