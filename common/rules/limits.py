"""How fast one may go: token buckets that cost little while nobody pushes.

A bucket holds `burst` tokens and fills with `rate` a second. Its whole state is one
number, the moment it will be full again: `(full_at - now) * rate` tokens are missing
now, and a bucket whose moment has passed is as good as none. So a connection needs
a bucket only while it talks, and a table forgets idle keys without losing anything.

More than `burst` at once is allowed when the bucket is full, and then owed: the next
wait is the longer, and the rate holds.

Source: the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371,
annex A (1996), which is a token bucket kept in one number.
"""

from __future__ import annotations

from collections.abc import Hashable

EMPTY = float("-inf")
"""`full_at` of a bucket that was never used."""
ROUNDING = 1e-9
"""Seconds a wait may fall short by, so that who waited as told is not refused again."""


def wait_for(full_at: float, now: float, amount: float, rate: float, burst: float) -> float:
    """Give 0.0 when `amount` tokens are there at `now`, else the seconds until they are."""
    missing = max(full_at - now, 0.0)
    wait = missing + (min(amount, burst) - burst) / rate
    return wait if wait > ROUNDING else 0.0


class TokenBucket:
    """One bucket, full at first.

    Args:
        rate: tokens a second, above 0.
        burst: tokens it holds, above 0.
    """

    __slots__ = ("rate", "burst", "full_at")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self.full_at = EMPTY

    def take(self, now: float, amount: float = 1) -> float:
        """Take `amount` tokens; give 0.0, or the seconds to wait when nothing was taken."""
        wait = wait_for(self.full_at, now, amount, self.rate, self.burst)
        if not wait:
            self.full_at = max(self.full_at, now) + amount / self.rate
        return wait

    def is_idle(self, now: float) -> bool:
        """Tell whether it is full, so that a new one would do as well."""
        return self.full_at <= now


class RateTable:
    """A bucket for each of many users or rooms, all with one rate, one number each.

    Two generations: what is used goes to the young one; once all buckets of the old
    one are full again it is dropped whole and the young one grows old. A table of
    more than `items` keys drops its old generation early: memory stays bounded,
    some of those keys get their burst anew, and `forgotten` counts them.

    Args:
        rate: tokens a second for each key, above 0.
        burst: tokens a bucket holds, above 0.
        items: keys held at most, at least 2.
    """

    def __init__(self, rate: float, burst: float, items: int = 65_536) -> None:
        self.rate = rate
        self.burst = burst
        self.forgotten = 0
        self._half = max(items // 2, 1)
        self._young: dict[Hashable, float] = {}
        self._old: dict[Hashable, float] = {}
        self._young_full_at = EMPTY
        self._old_full_at = EMPTY

    def __len__(self) -> int:
        """Entries held; a key used lately may have one in each generation."""
        return len(self._young) + len(self._old)

    def take(self, key: Hashable, now: float, amount: float = 1) -> float:
        """Take `amount` tokens from the bucket of `key`; give 0.0, or the seconds to wait (nothing taken)."""
        if self._old_full_at <= now and self._young:
            self._turn()
        full_at = self._young.get(key)
        if full_at is None:
            full_at = self._old.get(key, EMPTY)
        wait = wait_for(full_at, now, amount, self.rate, self.burst)
        if wait:
            return wait
        if len(self._young) >= self._half and key not in self._young:
            self.forgotten += len(self._old)
            self._turn()
        full_at = max(full_at, now) + amount / self.rate
        self._young[key] = full_at
        self._young_full_at = max(self._young_full_at, full_at)
        return 0.0

    def _turn(self) -> None:
        self._old, self._old_full_at = self._young, self._young_full_at
        self._young, self._young_full_at = {}, EMPTY
