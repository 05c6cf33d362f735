"""The copies of maps one world process has: opened for the first who comes, closed when empty.

    line       anybody's enter opens it
    instance   opened once for somebody, with data; who comes later finds it or does not
    draining   nothing opens any more; what is open goes on until its players are moved

A copy closes when it was empty for `idle` seconds; an instance that nobody has come to yet
waits for `hold`, if that is longer. The owner of this looks with `over` and ends them.

Source: docs/decisions/a-line-is-named-after-its-host.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.errors import Forbidden, Full, NotFound, Unavailable
from common.wire.lines import Line, split_key

GUESTS = "guests"
"""The field of an instance's data that names the uids who may enter; without it all may."""


@dataclass(slots=True)
class Hosted:
    """One copy that is open.

    Attributes:
        players, entered: now, and ever.
        empty_since: seconds; what it means while there are players is nothing.
    """

    key: str
    line: Line
    data: Any
    empty_since: float
    players: int = 0
    entered: int = 0


class Hosting:
    """The copies of one process.

    Args:
        index: of the process among those of its map.
        full: players a copy takes.
        copies: how many copies it takes.
        idle, hold: seconds; see above.

    Attributes:
        full: as above; may change.
        draining: set when the process is to end.
    """

    def __init__(self, index: int, full: int, copies: int, idle: float, hold: float) -> None:
        self._index = index
        self.full = full
        self._copies = copies
        self._idle = idle
        self._hold = hold
        self._open: dict[str, Hosted] = {}
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: str) -> Hosted | None:
        """Give a copy that is open."""
        return self._open.get(key)

    def open(self, key: str, data: Any, now: float) -> bool:
        """Open an instance with its data; False when it is open already.

        Raises:
            BadField, NotFound: the key is no copy's, or another host's.
            Full: the process has as many as it takes; fact `limit`.
            Unavailable: it is draining.
        """
        if key in self._open:
            return False
        self._add(key, data, now)
        return True

    def admit(self, key: str, uid: str, now: float, coming: int = 0) -> Hosted:
        """Give the copy a player may enter; a line is opened for the first. Nobody is counted yet.

        Args:
            coming: so many others are on their way to it.

        Raises:
            BadField, NotFound: the key is no copy's, or another host's; or such an instance is not there.
            Forbidden: the instance is for others.
            Full: too many players, or copies; fact `limit`.
            Unavailable: it is draining.
        """
        if self.draining:
            raise Unavailable("this world is about to end")
        copy = self._open.get(key)
        if copy is None:
            if split_key(key)[1].made:
                raise NotFound("no such instance any more", field="line")
            return self._add(key, None, now)
        guests = copy.data.get(GUESTS) if isinstance(copy.data, dict) else None
        if guests is not None and uid not in guests:
            raise Forbidden("this instance is for others")
        if copy.players + coming >= self.full:
            raise Full("the line is full", limit=self.full)
        return copy

    def _add(self, key: str, data: Any, now: float) -> Hosted:
        line = split_key(key)[1]
        if line.host != self._index:
            raise NotFound("no such line here", field="line")
        if self.draining:
            raise Unavailable("this world is about to end")
        if len(self._open) >= self._copies:
            raise Full("this world takes no more lines", limit=self._copies)
        waits = max(0.0, self._hold - self._idle)
        copy = self._open[key] = Hosted(key, line, data, now + waits)
        return copy

    def entered(self, copy: Hosted) -> None:
        """A player is in."""
        copy.players += 1
        copy.entered += 1

    def left(self, copy: Hosted, now: float) -> None:
        """A player is out."""
        copy.players -= 1
        if not copy.players:
            copy.empty_since = now

    def over(self, now: float) -> list[Hosted]:
        """Give the copies that are to close: empty for long enough; all empty ones while draining."""
        return [
            copy
            for copy in self._open.values()
            if not copy.players and (self.draining or now - copy.empty_since >= self._idle)
        ]

    def close(self, copy: Hosted) -> None:
        """It is closed; an instance is so for good."""
        self._open.pop(copy.key, None)

    def rows(self) -> list[list[Any]]:
        """Give what is reported: [key, players, ever entered] of each copy."""
        return [[copy.key, copy.players, copy.entered] for copy in self._open.values()]
