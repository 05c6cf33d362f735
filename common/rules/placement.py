"""Which of the configured processes owns a key: rendezvous (highest random weight) hashing.

Every index gets a weight from the key and itself; the largest weight wins. Going
from n to n + 1 processes moves only the keys the new one wins, 1/(n + 1) of them.
The answer depends on nothing but its arguments, so every process, host and Python
version places a key alike.

Source: D. Thaler, C. Ravishankar, "Using name-based mappings to increase hit rates",
IEEE/ACM Transactions on Networking 6(1), 1998.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

REMEMBERED = 4_096
"""Answers kept: hot rooms and users; a miss costs about a microsecond per index."""


def choose(key: str, count: int) -> int:
    """Give the index, 0 … count-1, that owns `key`.

    Args:
        key: any text, e.g. "product/uid".
        count: how many processes are configured.

    Raises:
        ValueError: count is below 1.
    """
    if count == 1:
        return 0
    if count < 1:
        raise ValueError(f"cannot place {key!r} on {count} processes")
    return _heaviest(key, count)


@lru_cache(maxsize=REMEMBERED)
def _heaviest(key: str, count: int) -> int:
    text = key.encode("utf-8", "surrogatepass")
    weights = [blake2b(index.to_bytes(4, "big") + text, digest_size=8).digest() for index in range(count)]
    return weights.index(max(weights))
