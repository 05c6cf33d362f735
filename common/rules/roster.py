"""Who is in a room, by name: kept only where somebody asks, and only in small rooms.

Each gateway sends the whole list of its members whenever it changes; the difference
to the list before gives who joined and who left. A user counts once, on however many
connections and gateways.

Source: docs/protocol.md, section 6, presence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Seat(NamedTuple):
    """One connection in a room; `since` is unix ms."""

    conn: int
    uid: str
    device: str
    kind: str
    since: int


class Roster:
    """The members of one room, as the gateways have told.

    Args:
        awaited: gateways with members whose first list is still to come.

    Attributes:
        awaited: the same, as far as they have not told yet.
    """

    __slots__ = ("_seats", "_users", "awaited")

    def __init__(self, awaited: Iterable[str]) -> None:
        self.awaited = set(awaited)
        self._seats: dict[str, dict[int, Seat]] = {}
        self._users: dict[str, int] = {}

    def take(self, gateway: str, seats: Iterable[Seat]) -> tuple[list[str], list[str]]:
        """Take a gateway's whole list.

        Returns:
            (uids that came in, uids that went out) by this list; ([], []) for the
            first list of a gateway that was awaited: those were there before.
        """
        old = self._seats.pop(gateway, {})
        new = {seat.conn: seat for seat in seats}
        if new:
            self._seats[gateway] = new
        # Those who come are counted first: who moves to another connection neither came nor went.
        came = [seat.uid for conn, seat in new.items() if old.get(conn) != seat and self._enter(seat.uid)]
        went = [seat.uid for conn, seat in old.items() if new.get(conn) != seat and self._leave(seat.uid)]
        if gateway in self.awaited:
            self.awaited.discard(gateway)
            return [], []
        return came, went

    def _enter(self, uid: str) -> bool:
        """Count a connection of a user; True for the first."""
        self._users[uid] = self._users.get(uid, 0) + 1
        return self._users[uid] == 1

    def _leave(self, uid: str) -> bool:
        """Count a connection of a user less; True for the last."""
        self._users[uid] -= 1
        if self._users[uid]:
            return False
        del self._users[uid]
        return True

    def listing(self) -> list[tuple[str, list[list[str]], int]]:
        """Give each user: (uid, [[device, kind] …], since when in ms)."""
        users: dict[str, tuple[list[list[str]], int]] = {}
        for seats in self._seats.values():
            for seat in seats.values():
                devices, since = users.get(seat.uid, ([], seat.since))
                devices.append([seat.device, seat.kind])
                users[seat.uid] = (devices, min(seat.since, since))
        return [(uid, devices, since) for uid, (devices, since) in users.items()]
