"""The queue + map cache: something bounded, found both by key and by age.

A queue keeps the entries in order and carries the limits (items, bytes, optional
ttl); a map points at the same entries. It serves what a room can replay, bodies a
dbserver keeps in memory, idempotency keys, layouts.

Three orders:

    fifo      the entry put first leaves first
    lru       the entry used (put or got) longest ago leaves first
    sequence  fifo, and the caller numbers the entries without a hole; `since`
              finds them by number. A history is not edited: entries leave at the
              old end only, `pop` is refused, and a key put again points at the
              newer entry while the older stays in its place

The queue is one list that ends at the newest entry. Entries know their number, and
`number - newest` counts from the list's end, so every place is found without a
search. What leaves is a None in the list; the list is closed up when more than half
of it is None. All operations are O(1) amortised and none can switch greenlets (the
eviction callback must not either). An empty cache holds neither list nor map.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, Literal, TypeVar

Value = TypeVar("Value")
Order = Literal["fifo", "lru", "sequence"]
Reason = Literal["items", "bytes", "ttl", "replaced", "popped"]

SLACK = 16
"""Nones a queue may have before it is closed up, however short it is."""


class Entry(Generic[Value]):
    """One thing kept: its key (None: found by number only), value, size in bytes, time put, number."""

    __slots__ = ("key", "value", "size", "time", "seq")

    def __init__(self, key: Hashable | None, value: Value, size: int, time: float, seq: int) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.time = time
        self.seq = seq


class Keep:
    """What all caches of one kind keep, and what they counted together.

    Shared, so that a cache itself costs little: a world has one Keep per room rule.

    Args:
        max_items: entries in one cache; 0 keeps nothing.
        max_bytes: sum of their sizes.
        ttl: seconds from `put`; None for ever. In an lru what is expired leaves
            when it is asked for or has become the oldest.
        order: see the module's docstring.
        on_evict: called with (entry, reason) once the entry is out.
    """

    __slots__ = ("max_items", "max_bytes", "ttl", "order", "on_evict", "puts", "hits", "misses", "evicted")

    def __init__(
        self,
        max_items: int,
        max_bytes: int,
        ttl: float | None = None,
        order: Order = "fifo",
        on_evict: Callable[[Entry[Any], Reason], None] | None = None,
    ) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.ttl = ttl
        self.order = order
        self.on_evict = on_evict
        self.puts = 0
        self.hits = 0
        self.misses = 0
        self.evicted: dict[Reason, int] = {"items": 0, "bytes": 0, "ttl": 0, "replaced": 0, "popped": 0}


class Cache(Generic[Value]):
    """A bounded queue with a map into it.

    Args:
        keep: limits, order and counters, shared by caches of one kind.
        newest: the number given last before this cache began (sequence only).
    """

    __slots__ = ("keep", "newest", "held_bytes", "_queue", "_head", "_live", "_map")

    def __init__(self, keep: Keep, newest: int = 0) -> None:
        self.keep = keep
        self.newest = newest
        self.held_bytes = 0
        self._queue: list[Entry[Value] | None] | None = None
        self._head = 0
        self._live = 0
        self._map: dict[Hashable, Entry[Value]] | None = None

    def __len__(self) -> int:
        return self._live

    def __contains__(self, key: Hashable) -> bool:
        return self._map is not None and key in self._map

    def __iter__(self) -> Iterator[Entry[Value]]:
        """Walk the entries, the next to leave first; the cache must not change meanwhile."""
        queue = self._queue or ()
        return (entry for entry in queue if entry is not None)

    @property
    def oldest(self) -> int:
        """Number of the oldest entry of a sequence; `newest + 1` when nothing is kept."""
        return self.newest - self._live + 1

    def put(self, key: Hashable | None, value: Value, size: int, now: float, seq: int | None = None) -> bool:
        """Keep `value` as the newest; what the limits no longer allow leaves first.

        Args:
            key: None when it is only ever found by number.
            size: bytes it counts for.
            now: seconds, any clock that does not go back.
            seq: its number, in a sequence only: newest + 1, or any larger one
                when nothing is kept.

        Returns:
            False when it alone is above the limits: it was evicted at once, and
            nothing older is kept either.

        Raises:
            ValueError: `seq` is missing, not wanted, or leaves a hole; nothing changed.
        """
        keep = self.keep
        seq = self._next_number(seq)
        keep.puts += 1
        self.expire(now)
        if key is not None and keep.order != "sequence":
            known = self._map.get(key) if self._map is not None else None
            if known is not None:
                self._remove(known, "replaced")
        while self._live:
            if self._live >= keep.max_items:
                self._remove(self._first(), "items")
            elif self.held_bytes + size > keep.max_bytes:
                self._remove(self._first(), "bytes")
            else:
                break
        entry = Entry(key, value, size, now, seq)
        if size > keep.max_bytes or keep.max_items < 1:
            self.newest = seq
            self._tell(entry, "bytes" if size > keep.max_bytes else "items")
            return False
        self._append(entry)
        self._live += 1
        self.held_bytes += size
        if key is not None:
            if self._map is None:
                self._map = {}
            self._map[key] = entry
        return True

    def get(self, key: Hashable, now: float | None = None) -> Entry[Value] | None:
        """Give the live entry under `key`, or None; in an lru this is a use.

        Args:
            now: an entry whose ttl has ended by then leaves instead; None: time is not looked at.
        """
        entry = self._map.get(key) if self._map is not None else None
        keep = self.keep
        if entry is not None and now is not None and self._is_expired(entry, now):
            if keep.order == "sequence":
                self.expire(now)
            else:
                self._remove(entry, "ttl")
            entry = None
        if entry is None:
            keep.misses += 1
            return None
        keep.hits += 1
        if keep.order == "lru" and entry.seq != self.newest:
            self._queue_slots()[self._place(entry)] = None
            entry.seq = self.newest + 1
            self._append(entry)
            self._close_up()
        return entry

    def pop(self, key: Hashable) -> Entry[Value] | None:
        """Take the entry under `key` out and give it; None when there is none.

        Raises:
            ValueError: the order is sequence, whose entries leave at the old end only.
        """
        if self.keep.order == "sequence":
            raise ValueError("an entry of a sequence cannot be popped: it would leave a hole")
        entry = self._map.get(key) if self._map is not None else None
        if entry is not None:
            self._remove(entry, "popped")
        return entry

    def since(self, seq: int, limit: int, now: float | None = None) -> list[Entry[Value]] | None:
        """Give what follows number `seq`: seq + 1, seq + 2 … without a hole.

        Args:
            seq: the last number the asker has; `newest` gives [].
            limit: at most so many, the oldest of them.
            now: what its ttl has ended leaves first; None: time is not looked at.

        Returns:
            Entries, ascending; None when not all that follows is kept, or when
            `seq` lies beyond the newest.

        Raises:
            ValueError: the order is not sequence.
        """
        if self.keep.order != "sequence":
            raise ValueError(f"`since` needs a cache in sequence, this one is {self.keep.order}")
        if now is not None:
            self.expire(now)
        ahead = self.newest - seq
        if ahead < 0 or ahead > self._live:
            return None
        if ahead == 0:
            return []
        queue = self._queue_slots()
        start = len(queue) - ahead
        return [entry for entry in queue[start : start + limit] if entry is not None]

    def expire(self, now: float) -> None:
        """Let go of entries at the old end whose ttl has ended at `now`."""
        if self.keep.ttl is None:
            return
        while self._live and self._is_expired(entry := self._first(), now):
            self._remove(entry, "ttl")

    def _next_number(self, seq: int | None) -> int:
        if self.keep.order != "sequence":
            if seq is not None:
                raise ValueError(f"a cache in {self.keep.order} order numbers its entries itself")
            return self.newest + 1
        if seq is None:
            raise ValueError("an entry of a sequence needs its number")
        if seq <= self.newest or (self._live and seq != self.newest + 1):
            raise ValueError(f"number {seq} does not follow {self.newest}")
        return seq

    def _is_expired(self, entry: Entry[Value], now: float) -> bool:
        ttl = self.keep.ttl
        return ttl is not None and now - entry.time >= ttl

    def _queue_slots(self) -> list[Entry[Value] | None]:
        assert self._queue is not None
        return self._queue

    def _place(self, entry: Entry[Value]) -> int:
        return len(self._queue_slots()) - 1 - (self.newest - entry.seq)

    def _first(self) -> Entry[Value]:
        entry = self._queue_slots()[self._head]
        assert entry is not None
        return entry

    def _append(self, entry: Entry[Value]) -> None:
        if self._queue is None:
            self._queue = []
        self._queue.append(entry)
        self.newest = entry.seq

    def _remove(self, entry: Entry[Value], reason: Reason) -> None:
        self._queue_slots()[self._place(entry)] = None
        self._live -= 1
        self.held_bytes -= entry.size
        if self._map is not None and entry.key is not None and self._map.get(entry.key) is entry:
            del self._map[entry.key]
        self._close_up()
        self._tell(entry, reason)

    def _close_up(self) -> None:
        """Move the head to the oldest entry; drop Nones once they are more than half of the list."""
        if not self._live:
            self._queue = self._map = None
            self._head = 0
            return
        queue = self._queue_slots()
        while queue[self._head] is None:
            self._head += 1
        if len(queue) <= 2 * self._live + SLACK:
            return
        if len(queue) - self._head == self._live:
            del queue[: self._head]
        else:
            kept = [entry for entry in queue if entry is not None]
            for number, entry in enumerate(kept, self.newest - len(kept) + 1):
                entry.seq = number
            queue[:] = kept
        self._head = 0

    def _tell(self, entry: Entry[Value], reason: Reason) -> None:
        self.keep.evicted[reason] += 1
        if self.keep.on_evict is not None:
            self.keep.on_evict(entry, reason)
