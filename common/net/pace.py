"""Going through much without holding up the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gevent import sleep

Item = TypeVar("Item")
SLICE_SECONDS = 0.002
"""What one greenlet may take before others get their turn."""


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


def in_parts(items: Iterable[Item | None], size: int) -> Iterator[list[Item]]:
    """Give the items in lists, each of at most `size` and of what 2 ms gave; None is left out.

    Nothing switches in here: the caller deals with a part, then lets others have their turn.
    """
    part: list[Item] = []
    until = time.monotonic() + SLICE_SECONDS
    for item in items:
        if item is not None:
            part.append(item)
        if len(part) >= size or time.monotonic() > until:
            yield part
            part, until = [], time.monotonic() + SLICE_SECONDS
    yield part
