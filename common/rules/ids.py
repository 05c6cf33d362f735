"""Message ids: which a dbserver may give, and where it begins after a stop.

    mid = shard << 44 | counter         shard 0 … 511, counter 0 … 2^44-1, mid < 2^53

A dbserver owns one shard, its region. Two bounds keep an id from ever being given
twice; only counters below both are given:

    disk    in the state file; what lies below may have been given. Moved ahead about
            once a second, and at once when short
    Redis   `db_shard:<n>`; where another host would begin. Moved 2^24 ahead at a time,
            so an outage of Redis does not stop ids

A start begins at the bound, so ids are lost but never repeated, whatever instant the
process was killed at. The state file also says which bound Redis last confirmed:
what lies between the two is this owner's for good (another host begins beyond it),
so it may be used when a start finds Redis away.

Where a start begins:

    state file  mark in Redis        begins at
    whole       this owner's         the file's bound
    whole       another's            the larger of the two
    whole       none                 the file's bound
    whole       Redis unreachable    the file's bound, up to the mark the file knows
    none        none                 0
    none        there                the mark
    none        Redis unreachable    refused, unless init_at is given
    damaged     any                  refused, unless init_at is given

The state file is one line of text; the last word is a checksum of all before it:

    roost-ids 1 <shard> <ident> <bound> <mark> <blake2b, 8 bytes, hex>\\n

Source: docs/storage.md, section 1.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from common.errors import ConfigError, Full

COUNTER_BITS = 44
COUNTERS = 1 << COUNTER_BITS
SHARDS = 512
REDIS_AHEAD = 1 << 24
"""Ids the bound in Redis moves ahead by."""
FILE_BYTES = 256
"""A state file is shorter; a longer one is damaged."""


def mid_of(shard: int, counter: int) -> int:
    """Give the message id of a counter in a shard's region."""
    return shard << COUNTER_BITS | counter


def shard_of(mid: int) -> int:
    """Give the shard whose region a message id lies in."""
    return mid >> COUNTER_BITS


class State(NamedTuple):
    """What a state file says.

    shard: whose region. ident: drawn when the owner began, 1–64 letters and digits.
    bound: counters below it may have been given. mark: the bound last confirmed by
    Redis.
    """

    shard: int
    ident: str
    bound: int
    mark: int


class Mark(NamedTuple):
    """What Redis has for a shard: the owner recorded there ("host/ident") and its bound, a counter."""

    owner: str
    bound: int


class NeedsBound(NamedTuple):
    """The answer when ids would lie beyond a bound: which one must move first."""

    disk: bool
    redis: bool


def encode(state: State) -> bytes:
    """Give the bytes of the state file."""
    text = f"roost-ids 1 {state.shard} {state.ident} {state.bound} {state.mark}".encode()
    return text + b" " + _checksum(text) + b"\n"


def decode(data: bytes) -> State:
    """Read the bytes of a state file.

    Raises:
        ValueError: a single bit is not as `encode` wrote it; the text says what is wrong.
    """
    text, _, checksum = data.removesuffix(b"\n").rpartition(b" ")
    if len(data) > FILE_BYTES or not data.endswith(b"\n") or checksum != _checksum(text):
        raise ValueError("its checksum does not fit")
    name, version, *words = text.decode().split(" ")
    if (name, version) != ("roost-ids", "1") or len(words) != 4:
        raise ValueError("it is of another version")
    return State(int(words[0]), words[1], int(words[2]), int(words[3]))


def _checksum(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).hexdigest().encode()


class Region:
    """The ids one process may give; made by `start`, driven by the process that does the I/O.

    No method switches greenlets. The owner's loop, about once a second and whenever
    `take` gives NeedsBound (one mover at a time):

        bound = region.wanted_redis_bound()
        if bound is not None:
            ...                                     # in Redis, see below
            region.redis_bound_moved(bound)
        bound = region.wanted_disk_bound()
        if bound is not None:
            file.write(region.state(bound))
            region.disk_bound_moved(bound)

    In Redis one script sets owner and bound (the larger of its own and the new one) if
    the owner there is `region.owner`, or if all is still as `region.expected` has it
    (None: there is no mark). Else another process began there: this one must stop and
    start anew; what it gave until then was its own.

    Args:
        shard: 0 … 511.
        host: name of this host; ident: of the state file. Together the owner.
        begin: the first counter to give.
        redis_bound: known to be this owner's in Redis.
        ahead: counters the bound on disk is moved ahead by.
        expected: the mark the start was decided by.
    """

    def __init__(
        self,
        shard: int,
        host: str,
        ident: str,
        begin: int,
        redis_bound: int,
        ahead: int,
        expected: Mark | None = None,
    ) -> None:
        self.shard = shard
        self.ident = ident
        self.owner = f"{host}/{ident}"
        self.expected = expected
        self.next = begin
        self.disk_bound = begin
        self.redis_bound = redis_bound
        self._ahead = ahead

    def take(self, count: int) -> range | NeedsBound:
        """Give `count` message ids in a row, never given before; or which bound is in the way.

        Raises:
            Full: the region has no `count` ids left.
        """
        end = self.next + count
        if count < 1:
            raise ValueError(f"cannot take {count} ids")
        if end > COUNTERS:
            raise Full("the id region is used up; give this dbserver another shard", limit=COUNTERS)
        if end > self.disk_bound or end > self.redis_bound:
            return NeedsBound(disk=end > self.disk_bound, redis=end > self.redis_bound)
        first = mid_of(self.shard, self.next)
        self.next = end
        return range(first, first + count)

    def wanted_disk_bound(self, count: int = 0) -> int | None:
        """Give the bound to write into the state file now, or None when half of the way ahead is left.

        Never beyond Redis's bound, so that a restart while Redis is away goes on.

        Args:
            count: ids that are wanted at once.
        """
        if self.disk_bound - self.next >= max(self._ahead // 2, count):
            return None
        wanted = min(self.next + max(self._ahead, count), self.redis_bound)
        return wanted if wanted > self.disk_bound else None

    def disk_bound_moved(self, bound: int) -> None:
        """Take note that `bound` is on disk, to stay: file and folder are synced."""
        self.disk_bound = max(self.disk_bound, bound)

    def wanted_redis_bound(self, count: int = 0) -> int | None:
        """Give the bound to set in Redis now, or None when half of 2^24 is left.

        Args:
            count: ids that are wanted at once.
        """
        if self.redis_bound - self.next >= max(REDIS_AHEAD // 2, count):
            return None
        wanted = min(max(self.redis_bound, self.next) + max(REDIS_AHEAD, count), COUNTERS)
        return wanted if wanted > self.redis_bound else None

    def redis_bound_moved(self, bound: int) -> None:
        """Take note that Redis has `bound` with this owner."""
        self.redis_bound = max(self.redis_bound, bound)

    def state(self, bound: int) -> State:
        """Give what the state file is to say once the bound on disk is `bound`."""
        return State(self.shard, self.ident, bound, self.redis_bound)


def start(
    shard: int,
    host: str,
    ident: str,
    data: bytes | None,
    mark: Mark | None,
    *,
    redis_up: bool,
    ahead: int,
    init_at: int | None = None,
) -> Region:
    """Decide where a process begins; the table is in the module's docstring.

    Args:
        host: name of this host, without "/".
        ident: fresh and random, e.g. 16 hex digits. Used wherever the start does not
            go on from this file's own bound, so that a kill after Redis has the new
            owner, but before the file has the new bound, is not taken for a restart.
        data: bytes of the state file; None when there is none.
        mark: what Redis has; None when it has none or is unreachable.
        redis_up: whether Redis answered.
        ahead: ids the bound on disk is moved ahead by.
        init_at: the operator's word that no counter from here on was given; it
            never brings the start below what file or mark say.

    Raises:
        ConfigError: there is no telling what was given; the text names the way out.
    """
    state, damage = _read(shard, data)
    reached = max(mark.bound if mark else 0, state.bound if state else 0)
    if init_at is not None:
        begin = max(init_at, reached)
        return Region(shard, host, ident, begin, begin, ahead, mark)
    if damage:
        raise _refusal(shard, f"the state file is damaged: {damage}", mark)
    if state is None and not redis_up:
        raise _refusal(shard, "there is no state file and Redis does not answer", None)
    if state is not None and not redis_up:
        return Region(shard, host, state.ident, state.bound, state.mark, ahead)
    if state is not None and mark is not None and mark.owner == f"{host}/{state.ident}":
        return Region(shard, host, state.ident, state.bound, mark.bound, ahead, mark)
    return Region(shard, host, ident, reached, reached, ahead, mark)


def _read(shard: int, data: bytes | None) -> tuple[State | None, str]:
    """Give (state or None, what is damaged or "")."""
    if data is None:
        return None, ""
    try:
        state = decode(data)
    except ValueError as error:
        return None, str(error)
    if state.shard != shard:
        return None, f"it belongs to shard {state.shard}"
    return state, ""


def _refusal(shard: int, why: str, mark: Mark | None) -> ConfigError:
    if mark is not None:
        cure = (
            f"Redis says that ids below {mark.bound} may have been given: "
            f"start once with --init-at {mark.bound}"
        )
    else:
        cure = (
            "bring Redis or the file back, or, if you know a number N from which on "
            "no id of this shard was ever given, start once with --init-at N"
        )
    return ConfigError(f"ids of shard {shard}: {why}; {cure}")
