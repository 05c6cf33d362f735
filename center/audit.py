"""The audit log: who pushed what to whom. A line of log each, and a bounded stream in Redis.

The line is written at once. The stream is written in batches, and by nobody waited for;
while storage is away the newest WAITING entries wait for it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from common.errors import RequestError
from common.net.dbclient import Dbservers
from common.net.log import Doubling, Logger

WAITING = 10_000
BATCH = 500
TIMEOUT = 1.0
"""Seconds a dbserver has for a batch: center's stop waits for the last one."""
NAMED = 20
"""Receivers an entry names; it counts all."""

Row = list[Any]


class Audit:
    """Gathers entries until `flush`."""

    def __init__(self, dbservers: Dbservers, log: Logger) -> None:
        self._dbservers = dbservers
        self._log = log
        self._rows: deque[Row] = deque(maxlen=WAITING)
        self._lost = Doubling()

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, product: str, key: str, kind: str, time_ms: int, **facts: Any) -> None:
        """Note what was done.

        Args:
            key: id of the API key.
            kind: unicast, multicast, broadcast, room, kick, ban …
            facts: mid, count, to …; values msgpack can carry.
        """
        self._log.info("audit", kind=kind, product=product, key=key, **facts)
        if len(self._rows) == WAITING and self._lost.hit():
            self._log.warning("audit log overflows", lost=self._lost.count)
        self._rows.append([product, {"time": time_ms, "key": key, "kind": kind, **facts}])

    def flush(self) -> None:
        """Write what is gathered; what storage does not take now is tried at the next call."""
        while self._rows:
            batch = [self._rows.popleft() for _ in range(min(BATCH, len(self._rows)))]
            try:
                self._dbservers.call("audit_add", batch, timeout=TIMEOUT)
            except RequestError:
                space = WAITING - len(self._rows)
                self._rows.extendleft(reversed(batch[-space:] if space else []))
                return


def whom(uids: list[str]) -> dict[str, Any]:
    """Give what an entry says of receivers."""
    return {"count": len(uids), "to": uids[:NAMED]}
