"""An application server beside the flocks: unicasts to users at random, at a steady rate."""

from __future__ import annotations

import random
import time

import gevent
from gevent.pool import Pool

from loadtest.door import Door
from loadtest.flock.packets import TO_USER, stamp
from loadtest.flock.timing import unix_us

AT_ONCE = 64
"""Requests under way; one that has to wait for another waits on its own time."""


class Application:
    """Sends through center's API.

    Args:
        door: center.
        users: their numbers: "u0", "u1" …
        kept: every so-many-th is kept; 0: none.

    Attributes:
        sent: messages that were answered with success.
    """

    def __init__(self, door: Door, users: range, kept: int) -> None:
        self._door = door
        self._users = users
        self._kept = kept
        self._pool = Pool(AT_ONCE)
        self._number = 0
        self.sent = 0

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong -> how often."""
        return dict(self._door.errors)

    def send(self, rate: float, seconds: float) -> None:
        """Send so many a second for so long, due at fixed times; returns when all are answered.

        What could not even be begun in that time, because too many were unanswered, is an error.
        """
        began, count = time.monotonic(), round(rate * seconds)
        for turn in range(count):
            gevent.sleep(max(0.0, began + turn / rate - time.monotonic()))
            if time.monotonic() > began + seconds:
                self._door.errors["not begun in time"] += count - turn
                break
            self._pool.spawn(self._one, unix_us())
        self.wait()

    def wait(self) -> None:
        """Return when all requests are answered."""
        self._pool.join()

    def _one(self, due: int) -> None:
        self._number += 1
        number, keep = self._number, bool(self._kept) and not self._number % self._kept
        body = {"to": f"u{random.choice(self._users)}", "data": stamp(TO_USER, number, due), "keep": keep}
        self.sent += self._door.push("unicast", body)
