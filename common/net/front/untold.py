"""Kept messages whose receivers' session process could not be told: told when it can be.

They are in storage, so a *nudge* is enough: the newest number of each receiver, whose
gateways then read the mailbox. What is forgotten here is heard with the receiver's next
message, or at its next login.

Source: docs/architecture.md, section 9.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, Protocol

from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.wire.batch import pack_item

USERS = 100_000
"""Receivers remembered; above it the one waiting longest is forgotten."""
NUDGED = 2_000
"""Receivers in one item."""
COUNTERS = {
    "kept_untold": "receivers of kept messages whose session could not be told at once",
    "kept_forgotten": "receivers of kept messages of whom no session was told",
}


class Way(Protocol):
    """What is needed of common.net.links.Links."""

    def send(self, peer: str, item: bytes) -> bool:
        """Queue an item; False when it cannot be."""


class Untold:
    """Receivers whose session process is to be nudged.

    Args:
        links: the way to sessions.
        counters: those of COUNTERS are declared in it.
    """

    def __init__(self, links: Way, counters: Counters) -> None:
        counters.declare(COUNTERS)
        self._links = links
        self._counters = counters
        self._waiting: dict[str, tuple[str, int]] = {}
        self._overflows = Doubling()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, session: str, rows: Iterable[list[Any]]) -> None:
        """Remember receivers of a session: [user, seq, number given before] each."""
        for user, seq, _prev in rows:
            self._counters.kept_untold += 1
            _, before = self._waiting.pop(user, ("", 0))
            self._waiting[user] = (session, max(seq, before))
            if len(self._waiting) > USERS:
                self._forget_one()

    def again(self) -> None:
        """Nudge those whose session can be told now."""
        sessions: dict[str, list[str]] = {}
        for user, (session, _) in self._waiting.items():
            sessions.setdefault(session, []).append(user)
        for session, users in sessions.items():
            rest = iter(users)
            while part := list(islice(rest, NUDGED)):
                numbers = [self._waiting[user][1] for user in part]
                rows = [[user, seq, seq] for user, seq in zip(part, numbers, strict=True)]
                if not self._links.send(session, pack_item(["keep", 0, rows, 0, b""])):
                    break
                for user in part:
                    del self._waiting[user]

    def _forget_one(self) -> None:
        del self._waiting[next(iter(self._waiting))]
        self._counters.kept_forgotten += 1
        if self._overflows.hit():
            get_log().error("too many receivers wait to be told", limit=USERS)
