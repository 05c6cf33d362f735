"""Going through much without holding up the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gevent import sleep

Item = TypeVar("Item")
SLICE_SECONDS = 0.002


def in_slices(items: Iterable[Item]) -> Iterator[Item]:
    """Give the items one by one; every 2 ms other greenlets get their turn in between.

    What was true before the loop need not be true any more at a later item.
    """
    yield_at = time.monotonic() + SLICE_SECONDS
    for item in items:
        yield item
        if time.monotonic() > yield_at:
            sleep(0)
            yield_at = time.monotonic() + SLICE_SECONDS
