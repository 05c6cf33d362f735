"""The id generator of one dbserver: decisions of rules/ids.py tied to the file and to Redis.

    run/ids/shard-<n>     state file, held by flock against others on this host
    db_shard:<n>          hash owner, bound (a counter), lease (ms): against other hosts

One greenlet moves both bounds, about once a second and at once when ids run short.
Redis's bound moves first, the file follows. Where a start cannot tell yet what was
given (no file and Redis away, another host's lease, a damaged file) it asks again
each second; until then `take` answers Unavailable and `missing` says why. So does one
whose shard another host took over: what it gave until then was its own.

Source: docs/storage.md, section 1.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import gevent
from gevent.event import Event

from common.errors import BadField, ConfigError, DeadlineExceeded, Unavailable
from common.net import log
from common.net.idfile import RegionFile
from common.net.store import Store
from common.rules.ids import Mark, Region, start

TAKE_LIMIT = 1_000
MOVE_SECONDS = 1.0
LEASE_SECONDS = 15.0
"""How long a shard stays with a host whose dbserver is gone, in Redis's time."""
RENEW_SECONDS = 5.0
PATIENCE = 3
"""Moves of the bound a caller waits for; the first may have begun before it asked."""


def host_name(run_dir: Path) -> str:
    """Name this host and run folder: what one flock protects."""
    folder = blake2b(str(run_dir).encode(), digest_size=4).hexdigest()
    return f"{socket.gethostname().replace('/', '-')}:{folder}"


class Ids:
    """Gives ranges of message ids, none of them twice.

    Args:
        store: Redis.
        folder: of the state files; made if it is not there.
        shard: 0 … 511.
        host: as `host_name` gives it.
        ahead: ids the bound on disk is moved ahead by.
        init_at: the operator's word for a start that cannot tell; None usually.
        clock: monotonic seconds.

    Raises:
        ConfigError: another process of this host has the shard.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        shard: int,
        host: str,
        ahead: int,
        init_at: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._shard = shard
        self._host = host
        self._ahead = ahead
        self._init_at = init_at
        self._clock = clock
        self._region: Region | None = None
        self._expected: Mark | None = None
        self._renew_at = 0.0
        self._wanted = 0
        self._wake = Event()
        self._moved = Event()
        self._reason = "ids: not open yet"
        self._log = log.get()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = RegionFile(folder / f"shard-{shard}")
        self._file.lock()

    def missing(self) -> list[str]:
        """Say what keeps ids from being given; [] when nothing does."""
        return [self._reason] if self._reason else []

    def take(self, count: int) -> int:
        """Give the first of `count` ids in a row. Waits for the bound if it is short.

        Raises:
            BadField: count is not 1 … 1,000.
            Full: the region has no ids left.
            Unavailable: not open, or a bound cannot be moved now.
        """
        if not 1 <= count <= TAKE_LIMIT:
            raise BadField(f"count must be 1 to {TAKE_LIMIT}", field="count", limit=TAKE_LIMIT)
        for _ in range(PATIENCE):
            if self._region is not None:
                ids = self._region.take(count)
                if isinstance(ids, range):
                    return ids.start
            self._wanted += count
            self._wake.set()
            self._moved.wait()
        raise Unavailable(self._reason or "ids: the bound does not move")

    def run(self) -> None:
        """Open the region and keep its bounds ahead, for ever; for a greenlet of its own."""
        while True:
            self.step()
            self._wake.wait(MOVE_SECONDS)
            self._wake.clear()

    def step(self) -> None:
        """Open if not open, move what is short, wake those who wait. Switches greenlets."""
        wanted, self._wanted = self._wanted, 0
        reason = ""
        try:
            region = self._region or self._open()
            # What Redis allows already does not wait for it: it may be away.
            self._move_disk(region, wanted)
            self._move_redis(region, wanted)
            self._move_disk(region, wanted)
        except (Unavailable, DeadlineExceeded, ConfigError, OSError) as error:
            reason = f"ids: {error}"
        self._say(reason)
        self._wake_waiting()

    def close(self) -> None:
        """Let go of the shard's lock; `run` must have ended."""
        self._file.close()

    def _open(self) -> Region:
        data = self._file.read()
        mark: Mark | None = None
        redis_up = True
        try:
            owner, bound = self._store.call("HMGET", self._key, "owner", "bound")
            mark = Mark(owner.decode(), int(bound)) if owner is not None else None
        except (Unavailable, DeadlineExceeded):
            redis_up = False
        region = start(
            self._shard,
            self._host,
            secrets.token_hex(8),
            data,
            mark,
            redis_up=redis_up,
            ahead=self._ahead,
            init_at=self._init_at,
        )
        self._expected = region.expected
        self._renew_at = self._clock()
        self._region = region
        self._log.info("ids open", shard=self._shard, begin=region.next, redis_bound=region.redis_bound)
        return region

    def _move_redis(self, region: Region, wanted: int) -> None:
        """Renew the lease and move Redis's bound when due; that Redis is away matters only if ids need it."""
        bound = region.wanted_redis_bound(wanted)
        if bound is None and self._clock() < self._renew_at:
            return
        try:
            self._mark(region, region.redis_bound if bound is None else bound)
        except (Unavailable, DeadlineExceeded):
            if self._region is None or region.redis_bound - region.next < max(wanted, 1):
                raise

    def _mark(self, region: Region, bound: int) -> None:
        seen = self._expected or Mark("", 0)
        lease_ms = int(LEASE_SECONDS * 1000)
        reply = self._store.script("shard_mark", (self._key,), region.owner, *seen, bound, lease_ms)
        if reply[0] == b"held":
            self._region = None
            holder, rest = reply[1].decode() or "nobody", reply[2] / 1000
            raise Unavailable(f"shard {self._shard} belongs to {holder}, its lease runs another {rest:.0f} s")
        # From here on a mark that is missing was ours, and Redis forgot it.
        self._expected = None
        region.redis_bound_moved(bound)
        self._renew_at = self._clock() + RENEW_SECONDS

    def _move_disk(self, region: Region, wanted: int) -> None:
        bound = region.wanted_disk_bound(wanted)
        if bound is None:
            return
        # In a thread: two syncs may take long, and this process serves others meanwhile.
        gevent.get_hub().threadpool.apply(self._file.write, (region.state(bound),))
        region.disk_bound_moved(bound)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        moved, self._moved = self._moved, Event()
        moved.set()

    def _say(self, reason: str) -> None:
        if reason and reason != self._reason:
            self._log.warning("ids cannot move", shard=self._shard, reason=reason)
        self._reason = reason

    @property
    def _key(self) -> str:
        return f"db_shard:{self._shard}"
