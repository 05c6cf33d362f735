"""Which API key a request comes with, and what it may do.

Keys are read from storage and used for `fresh` seconds without asking again; a revoked
key works that much longer. While storage is away a key seen in the last STALE seconds
goes on working: what does not need storage shall go on, and revoking needs storage too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from common.errors import DeadlineExceeded, Forbidden, RateLimited, Unauthorized, Unavailable
from common.rules.cache import Cache, Keep
from common.rules.limits import RateTable
from common.wire.apikeys import same_hash, split_key

KNOWN = 10_000
"""Keys held in memory, and apart from them, so that guessing pushes no key out, ids that are none."""
STALE = 3600.0
REFUSED = "no valid API key"

Find = Callable[[str], dict[str, Any] | None]
"""id -> the key as common.net.apikeys.apikey_get gives it; raises what the call raises."""


class Key(NamedTuple):
    """A key that holds."""

    id: str
    product: str
    scopes: tuple[str, ...]


class Keyring:
    """Admits requests.

    Args:
        find: reads a key from storage.
        fresh: seconds.
        rate: requests a second for each key; twice that in a burst.
        clock: monotonic seconds.
    """

    def __init__(
        self, find: Find, fresh: float, rate: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find = find
        self._fresh = fresh
        self._clock = clock
        self._known: Cache[tuple[dict[str, Any], float]] = Cache(Keep(KNOWN, KNOWN, order="lru"))
        self._unknown: Cache[float] = Cache(Keep(KNOWN, KNOWN, order="lru"))
        self._rates = RateTable(rate, 2 * rate)

    def admit(self, text: str, scope: str) -> Key:
        """Give the key of a request, one request poorer.

        Args:
            text: the key; "" when the request brought none.
            scope: what it must have.

        Raises:
            Unauthorized: no such key, another secret, or revoked; which of them is not told.
            RateLimited: fact `after`, ms.
            Forbidden: fact `scope`, which it does not have.
            Unavailable, DeadlineExceeded: storage is away and the key was not seen lately.
        """
        parts = split_key(text)
        stored = self._stored(parts[0]) if parts else None
        if parts is None or stored is None or not same_hash(stored["hash"], parts[1]):
            raise Unauthorized(REFUSED)
        if stored["revoked"] is not None:
            raise Unauthorized(REFUSED)
        wait = self._rates.take(stored["id"], self._clock())
        if wait:
            raise RateLimited("too many requests with this key", after=max(int(wait * 1000), 1))
        if scope not in stored["scopes"] and "admin" not in stored["scopes"]:
            raise Forbidden(f"the key has not the scope {scope!r}", scope=scope)
        return Key(stored["id"], stored["product"], tuple(stored["scopes"]))

    def _stored(self, number: str) -> dict[str, Any] | None:
        """Give a key as stored, from memory while that is fresh or storage is away."""
        now = self._clock()
        entry, missed = self._known.get(number), self._unknown.get(number)
        if entry is not None and now - entry.value[1] < self._fresh:
            return entry.value[0]
        if missed is not None and now - missed.value < self._fresh:
            return None
        try:
            stored = self._find(number)
        except (Unavailable, DeadlineExceeded):
            if entry is not None and now - entry.value[1] < STALE:
                return entry.value[0]
            raise
        if stored is None:
            self._known.pop(number)
            self._unknown.put(number, now, 1, now)
        else:
            self._known.put(number, (stored, now), 1, now)
        return stored
