"""Message ids for one process, taken from a dbserver in ranges.

Source: docs/storage.md, section 1.
"""

from __future__ import annotations

from gevent.lock import Semaphore

from common.net.dbclient import Dbservers

RANGE = 1_000


class Ids:
    """Gives ids one by one; asks for the next range when the last is used up."""

    def __init__(self, dbservers: Dbservers) -> None:
        self._dbservers = dbservers
        self._next = 0
        self._end = 0
        self._lock = Semaphore()

    def take(self) -> int:
        """Give an id no one else has; may block for a call.

        Raises:
            Unavailable, DeadlineExceeded: no dbserver gives ids now.
        """
        while self._next >= self._end:
            with self._lock:
                if self._next >= self._end:
                    self._next = self._dbservers.call("ids_take", RANGE)
                    self._end = self._next + RANGE
        self._next += 1
        return self._next - 1
