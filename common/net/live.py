"""Messages of the server's own to users who are here, not kept."""

from __future__ import annotations

import time

from common.net.dbclient import Calls
from common.net.idrange import Ids
from common.places import Places


class Live:
    """Passes data to users as a live `inbox` from uid "".

    Args:
        callers: the process's calls, to sessions.
        ids: message ids.
    """

    def __init__(self, callers: Calls, places: Places, ids: Ids) -> None:
        self._callers = callers
        self._places = places
        self._ids = ids

    def deliver(self, users: list[str], data: bytes) -> None:
        """Pass packed data on; blocks for a call to each session concerned.

        Raises:
            RequestError: a session, or the ids, are away; some users may have it.
        """
        shards: dict[str, list[str]] = {}
        for user in users:
            shards.setdefault(self._places.session_of(user), []).append(user)
        mid, now_ms = self._ids.take(), time.time_ns() // 1_000_000
        for session, part in shards.items():
            self._callers.call(session, "deliver", part, mid, "", data, now_ms)
