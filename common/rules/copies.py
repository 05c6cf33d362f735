"""A map's copies and their hosts, as function has heard of them.

Source: docs/decisions/a-line-is-named-after-its-host.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from common.wire.lines import Line, split_key

TAKING = ("starting", "ready")
"""States of a process that takes players, or is about to."""


class Sizes(NamedTuple):
    """What a map says of its copies.

    Args:
        fill: players a line has before another is opened.
        full: players a copy takes at all.
        copies: lines and instances one process hosts.
    """

    fill: int
    full: int
    copies: int


class Report(NamedTuple):
    """What a world says of itself.

    Args:
        state: of its process; see TAKING.
        busy: it has no time to spare: nothing new unless nobody else is there.
        rows: [key, players, players that ever entered] of every copy.
    """

    incarnation: str
    term: int
    state: str
    busy: bool
    sizes: Sizes
    rows: Sequence[Sequence[Any]]


@dataclass(slots=True)
class Copy:
    """A line or an instance.

    Attributes:
        count, entered: as its host said last.
        open: its host has it, as far as is known.
        since: when somebody was last sent there, or its host began anew.
        held: (until, players) sent there and not seen there yet, oldest first.
        data: what an instance was made with.
    """

    area: str
    line: Line
    since: float
    count: int = 0
    entered: int = 0
    open: bool = False
    held: deque[tuple[float, int]] = field(default_factory=deque)
    data: Any = None

    def players(self, now: float) -> int:
        """Give how many are there or on their way."""
        while self.held and self.held[0][0] <= now:
            self.held.popleft()
        return self.count + sum(size for _, size in self.held)

    def arrived(self, many: int) -> None:
        """So many of those on their way are there now."""
        while many > 0 and self.held:
            until, size = self.held.popleft()
            if size > many:
                self.held.appendleft((until, size - many))
            many -= size


@dataclass(slots=True)
class Host:
    """A world process, as it reported last."""

    index: int
    incarnation: str = ""
    term: int = 0
    state: str = ""
    busy: bool = False
    sizes: Sizes = Sizes(0, 0, 0)
    heard_at: float = float("-inf")
    copies: dict[str, Copy] = field(default_factory=dict)

    def load(self, now: float) -> int:
        """Give the players of all its copies."""
        return sum(copy.players(now) for copy in self.copies.values())

    def lines(self, area: str) -> Iterator[Copy]:
        """Give its lines of one area; no instances."""
        return (copy for copy in self.copies.values() if copy.area == area and not copy.line.made)

    def begin_anew(self, now: float, hold: float) -> None:
        """It was restarted, or is silent: who was there is expected back for `hold` seconds."""
        for copy in self.copies.values():
            copy.held.clear()
            if copy.count:
                copy.held.append((now + hold, copy.count))
            copy.count = copy.entered = 0
            copy.open, copy.since = False, now

    def take(self, rows: Iterable[Sequence[Any]], now: float) -> None:
        """Take the rows of a report; instances that are not in it any more are gone."""
        named = set()
        for key, count, entered in rows:
            area, line = split_key(key)
            copy = self.copies.get(key)
            if copy is None:
                copy = self.copies[key] = Copy(area, line, now)
            copy.arrived(entered - copy.entered)
            copy.count, copy.entered, copy.open = count, entered, True
            named.add(key)
        for key, copy in list(self.copies.items()):
            if copy.open and key not in named:
                copy.open, copy.count, copy.entered = False, 0, 0
                if copy.line.made:
                    del self.copies[key]

    def forget(self, now: float, hold: float) -> None:
        """Drop what is not open and nobody is on the way to."""
        for key, copy in list(self.copies.items()):
            if not copy.open and now >= copy.since + hold:
                del self.copies[key]
