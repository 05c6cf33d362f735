"""How often which time was seen: counts in buckets that grow with the time.

    bucket = (e << 6) + (µs >> e),  e = max(0, bits of µs - 7)

64 buckets to a doubling, so a percentile is at most 1/64 off, from 1 µs to 18 minutes. Two
are added by adding their counts, which is why these cross processes and not percentiles.
(The idea is that of HdrHistogram; its Python library takes eight times as long to record,
and this is done for each delivery.)

Source: G. Tene, HdrHistogram, http://hdrhistogram.org
"""

from __future__ import annotations

from collections.abc import Mapping

BITS = 7
LONGEST = (1 << 30) - 1
"""µs; what takes longer counts as this."""


def bucket_of(microseconds: int) -> int:
    """Give the bucket of a time; below 0 (clocks that differ) counts as 0."""
    if microseconds > LONGEST:
        microseconds = LONGEST
    exponent = microseconds.bit_length() - BITS
    if exponent <= 0:
        return microseconds if microseconds > 0 else 0
    return (exponent << BITS - 1) + (microseconds >> exponent)


def microseconds_of(bucket: int) -> float:
    """Give the middle of a bucket."""
    exponent = max(0, (bucket >> BITS - 1) - 1)
    return ((bucket - (exponent << BITS - 1)) << exponent) + ((1 << exponent) - 1) / 2


class Histogram:
    """Counts of times.

    Attributes:
        counts: by bucket; what was not seen has none.
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def record(self, microseconds: int) -> None:
        """Count a time."""
        exponent = microseconds.bit_length() - BITS
        if exponent > 0 and 0 < microseconds <= LONGEST:  # as bucket_of, without a call
            bucket = (exponent << BITS - 1) + (microseconds >> exponent)
        else:
            bucket = bucket_of(microseconds)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1

    def take(self) -> dict[str, int]:
        """Give what was counted since the last call, as JSON carries it: bucket -> count."""
        counts, self.counts = self.counts, {}
        return {str(bucket): count for bucket, count in counts.items()}

    def add(self, taken: Mapping[str, int]) -> None:
        """Add what another one took."""
        for text, count in taken.items():
            bucket = int(text)
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    @property
    def total(self) -> int:
        """How many times were counted."""
        return sum(self.counts.values())

    def milliseconds(self, share: float) -> float:
        """Give the time in ms that this share of all did not exceed; 0 when there are none."""
        wanted, seen, last = share * self.total, 0, 0
        for last in sorted(self.counts):
            seen += self.counts[last]
            if seen >= wanted:
                break
        return round(microseconds_of(last) / 1000, 3)

    def summary(self) -> dict[str, float]:
        """Give count, p50, p99, p99.9 and the longest, in ms."""
        shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
        return {"count": self.total} | {name: self.milliseconds(share) for name, share in shares.items()}
