"""Telling another process much by link: in parts, as its queue has space, others' turns in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from gevent import sleep

from common.net.links import Links
from common.net.pace import in_parts

Row = TypeVar("Row")
FULL_SECONDS = 0.05
"""How often it is tried whether a full link has space again."""


def send_in_parts(
    links: Links,
    peer: str,
    rows: Iterable[Row | None],
    size: int,
    item: Callable[[list[Row]], bytes],
    holds: Callable[[Row], bool],
    goes_on: Callable[[], bool],
) -> bool:
    """Send rows, at most `size` in an item; switches greenlets.

    Args:
        rows: None is left out.
        item: packs a part.
        holds: tells whether a row that had to wait is still true.
        goes_on: False when all this is pointless by now.

    Returns:
        False when it was left before the end.
    """
    for part in in_parts(rows, size):
        while part and not links.send(peer, item(part)):
            sleep(FULL_SECONDS)
            if not goes_on():
                return False
            part = [row for row in part if holds(row)]
        sleep(0)
        if not goes_on():
            return False
    return True
