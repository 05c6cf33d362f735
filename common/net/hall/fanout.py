"""The way from a room to the gateways.

A message goes once to each gateway with members, however many it has. A gateway
whose queue is full misses it; nothing of that room is sent there any more until it
was told where the room stands (`sync`), as soon as there is space, so that its members
get a `gap`. In the same way nothing of a room is sent into a new stream before the
gateway has told where it stands itself: it may be in another epoch.

Source: docs/architecture.md, the path of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.net.links import Links
from common.net.metrics import Counters
from common.net.pace import in_slices
from common.rules.room import Room
from common.wire.batch import pack_item

COUNTERS = {
    "published": "messages given an offset",
    "forwarded": "messages sent to gateways (one for each gateway with members)",
    "skipped": "messages a gateway's full queue kept from it",
    "resyncs": "streams of a gateway brought up to date",
    "digest_mismatches": "counts of a gateway that did not fit its digest",
    "rooms_evicted": "rooms that gave way to the memory cap",
}
NOTHING: frozenset[str] = frozenset()


class Fanout:
    """What goes to which gateway, and what a gateway has missed.

    Args:
        links: to the gateways.
        counters: see COUNTERS.
    """

    def __init__(self, links: Links, counters: Counters) -> None:
        self._links = links
        self._counters = counters
        self._behind: dict[str, set[str]] = {}
        self._new_streams: dict[str, set[str]] = {}

    def send_all(self, room: Room, item: list[Any], listeners_only: bool = False) -> None:
        """Send one item to each gateway that has members (or listeners) in the room."""
        packed = pack_item(item)
        for gateway, (_, listening) in room.members.items():
            if listeners_only and not listening:
                continue
            if not self.has_told(gateway, room.key):
                continue
            if room.key not in self._behind.get(gateway, NOTHING) and self._links.send(gateway, packed):
                self._counters.forwarded += 1
            elif self._links.up(gateway):
                self._counters.skipped += 1
                self._behind.setdefault(gateway, set()).add(room.key)

    def sync(self, gateway: str, room: Room) -> bool:
        """Tell a gateway where a loaded room stands; when its queue is full `catch_up` does, later."""
        if self._links.send(gateway, pack_item(["sync", room.key, room.epoch, room.offset])):
            return True
        if self._links.up(gateway):
            self._behind.setdefault(gateway, set()).add(room.key)
        return False

    def sync_all(self, room: Room) -> None:
        """Tell every gateway with members where a loaded room stands."""
        for gateway in room.members:
            self.sync(gateway, room)

    def catch_up(self, rooms: Mapping[str, Room]) -> None:
        """Tell gateways that missed something where those rooms stand, as far as there is space."""
        for gateway, keys in list(self._behind.items()):
            for key in in_slices(list(keys)):
                room = rooms.get(key)
                if room is not None and room.epoch and not self.sync(gateway, room):
                    break
                keys.discard(key)
            if not keys and self._behind.get(gateway) is keys:
                del self._behind[gateway]

    def link_up(self, gateway: str) -> None:
        """A gateway's stream began anew: it tells where its rooms are (`told`), then it has told all."""
        self._new_streams[gateway] = set()

    def told(self, gateway: str, key: str) -> None:
        """A gateway has told of a room: what follows there may be sent."""
        rooms = self._new_streams.get(gateway)
        if rooms is not None:
            rooms.add(key)

    def told_all(self, gateway: str) -> None:
        """A gateway has told of all its rooms."""
        self._new_streams.pop(gateway, None)

    def has_told(self, gateway: str, key: str = "") -> bool:
        """Tell whether a gateway has told of a room, or of all."""
        rooms = self._new_streams.get(gateway)
        return rooms is None or key in rooms

    def link_down(self, gateway: str) -> None:
        """Forget what a gateway missed: it says itself where its rooms are when it is back."""
        self._behind.pop(gateway, None)
