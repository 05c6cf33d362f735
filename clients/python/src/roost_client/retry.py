"""When to come back after a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RetryPlan:
    """`delay = random(0, min(longest, base × factor^attempt))`, in seconds; attempts count from 0."""

    base: float = 0.5
    factor: float = 2.0
    longest: float = 20.0

    @classmethod
    def from_welcome(cls, retry: dict[str, Any] | None, otherwise: RetryPlan) -> RetryPlan:
        """Give the plan the welcome asks for; what it leaves out comes from `otherwise`."""
        if not retry:
            return otherwise
        return cls(
            float(retry.get("base", otherwise.base)),
            float(retry.get("factor", otherwise.factor)),
            float(retry.get("max", otherwise.longest)),
        )

    def delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Give the seconds to wait before attempt number `attempt`; `random()` is in 0 … 1."""
        try:
            grown = self.base * self.factor ** min(attempt, 64)
        except OverflowError:
            grown = self.longest
        return random() * min(self.longest, grown)


@dataclass(frozen=True)
class Timings:
    """Times the client keeps, in seconds. The defaults are those of the protocol.

    Attributes:
        welcome: a connection without a welcome after this long is dead.
        answer: so is one without any answer to what was asked this long ago.
        ping_share: a `ping` goes out after this share of the welcome's `ping` without sending.
        longest_nap: the reader looks around at least this often.
        stable: a connection that lived this long starts the retry plan anew.
    """

    welcome: float = 10.0
    answer: float = 15.0
    ping_share: float = 0.8
    longest_nap: float = 2.0
    stable: float = 5.0
