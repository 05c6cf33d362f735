"""A message to every connection of a product on this gateway, or to those with some tags.

    center ── broadcast ──▶ one gateway after the other, or all at a share of the rate
                              └─▶ connections in slices, at most `rate` a second, in the order begun

A kept one (`bseq`) goes into each connection's stream of broadcasts, so whoever came
in meanwhile, or was missed, reads it from the log. One that is not kept goes to whoever
is here when it begins. Both are encoded once.

A call repeated under the same message id waits for the same walk, or gets its result.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from gevent import sleep
from gevent.event import AsyncResult
from gevent.lock import Semaphore

from common.errors import BadField, Busy
from common.net.front.box import unpack_letter
from common.net.pace import in_slices
from common.rules.tags import Wanted, check_tags
from common.wire.codec import inbox_frame

if TYPE_CHECKING:
    from common.net.front.connection import Connection
    from common.net.front.front import Front

STEP = 0.01
"""Seconds between two slices."""
WAITING = 32
"""Broadcasts of a product under way or waiting; above it: busy."""
REMEMBERED = 1_000
"""Broadcasts whose results a repeated call gets."""
COUNTERS = {
    "broadcasts": "broadcasts begun",
    "broadcast_written": "connections broadcasts were written to",
}


class Broadcast(NamedTuple):
    """One broadcast.

    Args:
        body: as a kept message is stored (common/net/front/box.py).
        bseq, prev: its number and the one given before it; bseq 0: not kept.
        rate: connections a second.
    """

    product: str
    mid: int
    body: bytes
    bseq: int
    prev: int
    wanted: Wanted
    rate: float


class Lane:
    """The broadcasts of one product: one walks, others wait. A slow one holds up no other product's."""

    __slots__ = ("count", "walking")

    def __init__(self) -> None:
        self.count = 0
        self.walking = Semaphore()


class Broadcasts:
    """Walks over the connections of this gateway, one at a time for each product.

    Args:
        front: the connections; its counters get those of COUNTERS.
    """

    def __init__(self, front: Front) -> None:
        front.counters.declare(COUNTERS)
        self._front = front
        self._lanes: dict[str, Lane] = {}
        self._results: OrderedDict[int, AsyncResult] = OrderedDict()

    def broadcast(
        self,
        product: str,
        mid: int,
        body: bytes,
        bseq: int,
        prev: int,
        tags: list[str],
        rate: float | None,
    ) -> int:
        """Write to all; give to how many, once that is done. Switches greenlets.

        A caller that goes away does not end it. `rate` None or 0: the setting's.

        Raises:
            BadField: no body, list of tags or rate.
            Busy: too many of the product wait.
        """
        result = self._results.get(mid)
        if result is None:
            result = self._begin(product, mid, body, bseq, prev, check_tags(tags), rate)
        return int(result.get())

    def _begin(
        self, product: str, mid: int, body: bytes, bseq: int, prev: int, tags: Any, rate: float | None
    ) -> AsyncResult:
        pace = rate or self._front.settings.broadcast_per_second
        if pace < 0:
            raise BadField("rate is above 0", field="rate")
        lane = self._lanes.setdefault(product, Lane())
        if lane.count >= WAITING:
            raise Busy("too many broadcasts wait", limit=WAITING)
        lane.count += 1
        self._front.counters.broadcasts += 1
        result = self._results[mid] = AsyncResult()
        while len(self._results) > REMEMBERED:
            self._results.popitem(last=False)
        one = Broadcast(product, mid, body, bseq, prev, Wanted(tags), pace)
        self._front.process.tasks.spawn(f"broadcast {mid}", self._run, one, lane, result)
        return result

    def _run(self, one: Broadcast, lane: Lane, result: AsyncResult) -> None:
        try:
            with lane.walking:
                result.set(self._walk(one))
        except BaseException as error:
            self._results.pop(one.mid, None)
            result.set_exception(error)
            raise
        finally:
            lane.count -= 1
            if not lane.count:
                del self._lanes[one.product]

    def _walk(self, one: Broadcast) -> int:
        """Write in slices; give how many connections it was written to."""
        prefix, everybody = f"{one.product}/", list(self._front.connections.values())
        receivers = [
            connection
            for connection in in_slices(everybody)
            if connection.user.startswith(prefix) and one.wanted.fits(connection.tags)
        ]
        letter = unpack_letter(one.body)
        frame = inbox_frame(one.mid, letter.uid, letter.data, letter.time, bseq=one.bseq or None)
        began, slice_seconds = time.monotonic(), self._front.settings.fanout_slice_ms / 1000
        yield_at, written = began + slice_seconds, 0
        for connection in receivers:
            while written >= one.rate * (time.monotonic() - began + STEP):
                sleep(STEP)
            written += self._write(connection, one, frame)
            if time.monotonic() > yield_at:
                sleep(0)
                yield_at = time.monotonic() + slice_seconds
        return written

    def _write(self, connection: Connection, one: Broadcast, frame: bytes) -> bool:
        if connection.closed:
            return False
        if one.bseq:
            self._front.mail.live_broadcast(connection, frame, one.bseq, one.prev, len(one.body))
        else:
            self._front.entrance.tell(connection, frame)
        self._front.counters.broadcast_written += 1
        return True
