"""Clients that are not in yet, and whose address has too many of them.

A connection without its `hello`, a request whose head is still coming, a handshake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from common.net.metrics import Counters


class HalfOpen(Protocol):
    """A client that is not in yet."""

    number: int
    address: str

    def kick(self, code: str, reason: str) -> None:
        """End it with a word."""

    def close(self, why: str) -> None:
        """End it."""


class HalfOpens:
    """All of a gateway, oldest first.

    Args:
        per_address: above so many of one address its oldest goes.
        counters: `half_open_closed`.
    """

    def __init__(self, per_address: int, counters: Counters) -> None:
        self._limit = per_address
        self._counters = counters
        self._all: dict[int, HalfOpen] = {}
        self._addresses: dict[str, dict[int, HalfOpen]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[HalfOpen]:
        return iter(self._all.values())

    def __contains__(self, one: HalfOpen) -> bool:
        return one.number in self._all

    def add(self, one: HalfOpen) -> None:
        """Count one more; the oldest of its address is kicked when they are too many."""
        self._all[one.number] = one
        same = self._addresses.setdefault(one.address, {})
        same[one.number] = one
        if len(same) > self._limit:
            self._counters.half_open_closed += 1
            oldest = next(iter(same.values()))
            self.discard(oldest)
            oldest.kick("idle", "too many logins of your address are open")

    def discard(self, one: HalfOpen) -> None:
        """Count one less: it is in, or gone. Its address must be the one it came with."""
        if self._all.pop(one.number, None) is None:
            return
        same = self._addresses[one.address]
        del same[one.number]
        if not same:
            del self._addresses[one.address]
