"""How full Redis is, so that keeping stops before writing does.

Redis runs with `noeviction`: at its limit it refuses every write, acks and saves too.
From a share below that on, nothing new is kept.

Source: docs/storage.md, section 6.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from common.errors import Unavailable
from common.net.store import Store

FRESH_SECONDS = 1.0
"""How long a reading counts."""


class Memory:
    """The share of maxmemory in use, read about once a second.

    Args:
        full_share: from here on `admit` refuses.
        clock: monotonic seconds.
    """

    def __init__(self, store: Store, full_share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._full_share = full_share
        self._clock = clock
        self._read_at = float("-inf")
        self._share = 0.0

    def share(self) -> float:
        """Give used memory / maxmemory, 0 where there is no limit.

        Raises:
            Unavailable, DeadlineExceeded: Redis does not say.
        """
        now = self._clock()
        if now - self._read_at >= FRESH_SECONDS:
            before, self._read_at = self._read_at, now
            try:
                self._share = self._read()
            except BaseException:
                self._read_at = before
                raise
        return self._share

    def admit(self) -> float:
        """Give the share if there is room to keep something.

        Raises:
            Unavailable: Redis is too full, or away.
        """
        share = self.share()
        if share >= self._full_share:
            raise Unavailable(f"Redis is full to {share:.0%}", share=round(share, 3))
        return share

    def _read(self) -> float:
        text = self._store.call("INFO", "memory").decode()
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        limit = int(facts["maxmemory"])
        return int(facts["used_memory"]) / limit if limit else 0.0
