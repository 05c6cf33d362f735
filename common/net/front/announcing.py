"""Bringing a session process up to date after the stream with it began anew.

    link_up ─▶ both lists begin: what is opened or watched from here on counts as named
            ─▶ `announce`, `watches`: all logins and watches of its users ─▶ the lists end
            ─▶ whose mailbox holds more than was sent? ─▶ those are read

A gateway has tens of thousands of connections, so all of this walks: others get their
turn every few ms, and each connection is told as it is when its turn comes.

A live copy of a kept message may have been lost with the old stream. The message itself
is in storage, so the newest number of each mailbox shows whom it was for.

Source: docs/architecture.md, sections 7 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gevent import sleep

from common.errors import RequestError
from common.net.front.connection import Connection
from common.net.front.front import Front
from common.net.front.parts import FULL_SECONDS, send_in_parts
from common.net.pace import in_parts
from common.wire.batch import pack_item

ANNOUNCED = 200
"""Connections, or watched users, in one item: what a session process takes at once in about 2 ms."""
LOOKED_AT = 200
"""Mailboxes asked about in one call; one call of a walk is on the way at a time."""
AGAIN_SECONDS = 1.0
"""How often it asks again about mailboxes that storage did not tell of."""


class Announcing:
    """The walks under way, one for a session process at most; a new one ends the one before."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._links = front.process.links
        self._walks: dict[str, object] = {}

    def __len__(self) -> int:
        return len(self._walks)

    def begin(self, session: str) -> None:
        """The stream with a session process begins. Does not switch: nothing else may be sent before."""
        for kind in ("announce", "watches"):
            self._links.send(session, pack_item([kind, [], True, False]))
        walk = self._walks[session] = object()
        self._front.process.tasks.spawn(f"announce to {session}", self._walk, session, walk)

    def end(self, session: str) -> None:
        """The stream has ended; its walk, if one is under way, ends at its next step."""
        self._walks.pop(session, None)

    def _walk(self, session: str, walk: object) -> None:
        def goes_on() -> bool:
            return self._walks.get(session) is walk

        front = self._front
        is_here, is_watched = front.connections.__contains__, front.watchers.__contains__
        if (
            self._tell(session, "announce", self._logins(session), lambda row: is_here(row[0]), goes_on)
            and self._tell(session, "watches", self._watched(session), is_watched, goes_on)
            and self._read(session, goes_on)
        ):
            self.end(session)

    def _connections(self, session: str) -> Iterator[Connection | None]:
        """Give the connections of a session process, each as it is when asked for; None between them."""
        here = self._front.connections
        for number in list(here):
            connection = here.get(number)
            yield connection if connection is not None and connection.session == session else None

    def _logins(self, session: str) -> Iterator[list[Any] | None]:
        for c in self._connections(session):
            yield (
                None if c is None else [c.number, c.user, c.device, c.kind, c.epoch, c.epoch // 1000, c.tags]
            )

    def _watched(self, session: str) -> Iterator[str | None]:
        owner, watchers = self._front.process.places.session_of, self._front.watchers
        for user in list(watchers):
            yield user if user in watchers and owner(user) == session else None

    def _tell(
        self,
        session: str,
        kind: str,
        rows: Iterator[Any],
        holds: Callable[[Any], bool],
        goes_on: Callable[[], bool],
    ) -> bool:
        """Send a list in parts, and its end; False when the walk is over before.

        Args:
            holds: tells whether a row that had to wait is still true.
        """
        links, item = self._links, lambda part: pack_item([kind, part, False, False])
        if not send_in_parts(links, session, rows, ANNOUNCED, item, holds, goes_on):
            return False
        while not self._links.send(session, pack_item([kind, [], False, True])):
            sleep(FULL_SECONDS)
            if not goes_on():
                return False
        return True

    def _read(self, session: str, goes_on: Callable[[], bool]) -> bool:
        """Have the mailboxes read that hold more than was sent; False when the walk is over before."""
        for part in in_parts(self._connections(session), LOOKED_AT):
            while part:
                try:
                    self._front.mail.read_newer(part)
                    part = []
                except RequestError:
                    sleep(AGAIN_SECONDS)
                if not goes_on():
                    return False
            sleep(0)
            if not goes_on():
                return False
        return True
