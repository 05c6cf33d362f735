"""Answers of the last seconds by request id: what is asked twice is carried out once."""

from __future__ import annotations

from gevent.event import AsyncResult

from common.errors import Unavailable
from common.rules.cache import Cache, Keep
from common.wire.calls import pack_error

ITEMS = 2_000
BYTES = 4_194_304
SECONDS = 30.0
LARGE = 65_536
"""Bytes; of a larger answer it is only remembered that it was given."""
ENTRY_BYTES = 256
"""What an entry takes besides the answer."""

TOO_LARGE = pack_error(Unavailable("answered already; the answer was too large to keep"))


class Answers:
    """Packed replies, those under way included; time is passed in, monotonic seconds."""

    def __init__(self) -> None:
        self._cache: Cache[AsyncResult[bytes]] = Cache(Keep(ITEMS, BYTES, SECONDS))

    def begin(self, request_id: str, now: float) -> tuple[AsyncResult[bytes], bool]:
        """Give what holds or will hold the answer, and whether the request was taken up before."""
        known = self._cache.get(request_id, now)
        if known is not None:
            return known.value, True
        answer: AsyncResult[bytes] = AsyncResult()
        self._cache.put(request_id, answer, ENTRY_BYTES, now)
        return answer, False

    def finish(self, request_id: str, answer: AsyncResult[bytes], reply: bytes, now: float) -> None:
        """Give the answer to those who wait for it already, and keep it for those who come."""
        answer.set(reply)
        if len(reply) > LARGE:
            answer, reply = AsyncResult(), TOO_LARGE
            answer.set(reply)
        self._cache.put(request_id, answer, ENTRY_BYTES + len(reply), now)
