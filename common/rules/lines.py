"""Which copies of maps there are, how full they are, and where the next player goes.

    area      "product/map"
    copy      a line, filled by load, or an instance, made on demand (common/wire/lines.py)
    host      the world process of a copy; its reports are absolute, never ±1

Known only from reports, each of which holds all copies of one world. Places given since
are held: counted until the world has counted who came, or the time for it is over.

    place    the line one was sent to last ─▶ the fullest line below `fill`
             ─▶ a new line on the least loaded host ─▶ the emptiest line below `full`
             ─▶ the same on hosts that have no time to spare
    make     an instance on the least loaded host

Time is passed in, in seconds of any one clock.

Source: docs/decisions/a-line-is-named-after-its-host.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.errors import BadField, Full, NotFound, Unavailable
from common.rules.copies import TAKING, Copy, Host, Report
from common.wire.lines import Line, line_key, split_key
from common.wire.names import map_of

REMEMBERED = 50_000
"""Users whose last line is known: who comes back soon finds the same people, or its own player."""


class Lines:
    """All copies of all maps.

    Args:
        worlds: map -> its world processes, in the order of their indexes.
        hold: seconds a place is held for somebody on the way, or for the players of a
            world that was restarted.
        silent: seconds without a report after which nobody is sent to a world.
    """

    def __init__(self, worlds: Mapping[str, Sequence[str]], hold: float, silent: float) -> None:
        self._hold = hold
        self._silent = silent
        self._maps = {name: [Host(index) for index in range(len(found))] for name, found in worlds.items()}
        self._hosts = {
            world: host
            for name, found in worlds.items()
            for world, host in zip(found, self._maps[name], strict=True)
        }
        self._made = 0
        self._last: dict[tuple[str, str], Line] = {}

    def __len__(self) -> int:
        return sum(len(host.copies) for host in self._hosts.values())

    # what worlds say

    def report(self, world: str, told: Report, now: float) -> list[list[Any]] | None:
        """Take a world's report.

        Returns:
            [key, data] of instances it is to open again; None when a newer incarnation or
            term has reported: nothing changes then.

        Raises:
            BadField: a row is no copy of that world; nothing changes then.
        """
        host = self._hosts[world]
        if (told.incarnation, told.term) < (host.incarnation, host.term):
            return None
        for key, *_ in told.rows:
            area, line = split_key(key)
            if line.host != host.index or host not in self._maps.get(map_of(area), ()):
                raise BadField(f"{key} is no copy of {world}", field="rows")
        if told.incarnation != host.incarnation:
            host.begin_anew(now, self._hold)
        host.incarnation, host.term, host.state = told.incarnation, told.term, told.state
        host.busy, host.sizes, host.heard_at = told.busy, told.sizes, now
        host.take(told.rows, now)
        host.forget(now, self._hold)
        return [[key, copy.data] for key, copy in host.copies.items() if copy.line.made and not copy.open]

    def step(self, now: float) -> None:
        """Now and then: drop what is over."""
        for host in self._hosts.values():
            if host.state and now - host.heard_at >= self._silent:
                host.state = ""
                host.begin_anew(now, self._hold)
            host.forget(now, self._hold)

    # who goes where

    def place(
        self, area: str, size: int, now: float, apart: str = "", wish: Line | None = None, who: str = ""
    ) -> Line:
        """Give the line for so many players that stay together, and hold their places.

        Args:
            apart: a world process they may not go to, "" for none.
            wish: the copy they want; no other is given then.
            who: a uid; it comes back to the line it was sent to last, while that is there.

        Raises:
            NotFound: no such map is configured, or the wished copy is not there.
            Full: no line has room for them, and no other may be opened; fact `limit`.
            Unavailable: no process of the map takes players now.
        """
        hosts = self._takers(area, now, apart)
        if wish is not None:
            return self._hold_for(self._wished(hosts, area, wish, size, now), size, now)
        known = self._known(hosts, area, who, size, now)
        copy = known or self._fitting(hosts, area, size, now)
        if who:
            self._last.pop((area, who), None)
            self._last[area, who] = copy.line
            if len(self._last) > REMEMBERED:
                del self._last[next(iter(self._last))]
        return self._hold_for(copy, 0 if known else size, now)

    def _known(self, hosts: list[Host], area: str, who: str, size: int, now: float) -> Copy | None:
        """Give the line one was sent to last, if it has room.

        No place is held for it: its player may be there still, and counted, as are all after their
        gateway or their world was lost.
        """
        last = self._last.get((area, who))
        if last is None:
            return None
        for host in hosts:
            copy = host.copies.get(line_key(area, last))
            if copy is not None and copy.players(now) + size <= host.sizes.full:
                return copy
        return None

    def _wished(self, hosts: list[Host], area: str, wish: Line, size: int, now: float) -> Copy:
        for host in hosts:
            copy = host.copies.get(line_key(area, wish))
            if copy is not None:
                if copy.players(now) + size > host.sizes.full:
                    raise Full("the line is full", limit=host.sizes.full)
                return copy
        raise NotFound("no such line", field="line")

    def _fitting(self, hosts: list[Host], area: str, size: int, now: float) -> Copy:
        """Give a line with room; on a host without time to spare only when no other has any."""
        for is_busy in (False, True):
            copy = self._on([host for host in hosts if host.busy is is_busy], area, size, now)
            if copy is not None:
                return copy
        raise Full("all lines of the map are full", limit=max(host.sizes.full for host in hosts))

    def _on(self, hosts: list[Host], area: str, size: int, now: float) -> Copy | None:
        """Give the fullest line below `fill`, else a new one, else the emptiest below `full`."""
        lines = [(copy.players(now) + size, host, copy) for host in hosts for copy in host.lines(area)]
        filling = [
            (players, -host.index, -copy.line.number, copy)
            for players, host, copy in lines
            if players <= host.sizes.fill
        ]
        if filling:
            return max(filling)[-1]
        opener = self._opener(hosts, size, now)
        if opener is not None:
            taken = {copy.line.number for copy in opener.lines(area)}
            number = next(number for number in range(1, len(taken) + 2) if number not in taken)
            return self._add(opener, area, Line(opener.index, number), now)
        below = [
            (players, host.index, copy.line.number, copy)
            for players, host, copy in lines
            if players <= host.sizes.full
        ]
        return min(below)[-1] if below else None

    def make(self, area: str, size: int, data: Any, number: int, now: float) -> Line:
        """Give a new instance for so many players; its host is to be told to open it.

        Args:
            number: unix ms; the instance gets it, or the one after the last given.

        Raises:
            NotFound, Full, Unavailable: as `place`.
        """
        hosts = self._takers(area, now)
        idle = [host for host in hosts if not host.busy]
        opener = self._opener(idle, size, now) or self._opener(hosts, size, now)
        if opener is None:
            limit = max(host.sizes.copies for host in hosts)
            raise Full("no process of the map takes such an instance", limit=limit)
        self._made = max(self._made + 1, number)
        copy = self._add(opener, area, Line(opener.index, self._made, made=True), now)
        copy.data = data
        return self._hold_for(copy, size, now)

    def unmake(self, area: str, line: Line) -> None:
        """An instance could not be opened; its places are not held any more."""
        self._of(area)[line.host].copies.pop(line_key(area, line), None)

    def listing(self, area: str, now: float) -> list[list[Any]]:
        """Give [line, players, does it take more] of the lines of an area, in order; no instances.

        Raises:
            NotFound: no such map is configured.
        """
        rows = [
            (copy.line, copy.players(now), self._takes(host, now) and copy.players(now) < host.sizes.full)
            for host in self._of(area)
            for copy in host.lines(area)
        ]
        return [[str(line), players, takes] for line, players, takes in sorted(rows)]

    def _of(self, area: str) -> list[Host]:
        hosts = self._maps.get(map_of(area))
        if hosts is None:
            raise NotFound(f"no map {map_of(area)!r}", field="map")
        return hosts

    def _takes(self, host: Host, now: float) -> bool:
        return host.state in TAKING and now - host.heard_at < self._silent

    def _takers(self, area: str, now: float, apart: str = "") -> list[Host]:
        avoided = self._hosts.get(apart)
        hosts = [host for host in self._of(area) if host is not avoided and self._takes(host, now)]
        if not hosts:
            raise Unavailable("no process of the map takes players now")
        return hosts

    def _opener(self, hosts: Iterable[Host], size: int, now: float) -> Host | None:
        """Give the least loaded host that may open another copy."""
        able = [host for host in hosts if len(host.copies) < host.sizes.copies and size <= host.sizes.full]
        return min(able, key=lambda host: (host.load(now), host.index), default=None)

    def _add(self, host: Host, area: str, line: Line, now: float) -> Copy:
        copy = host.copies[line_key(area, line)] = Copy(area, line, now)
        return copy

    def _hold_for(self, copy: Copy, size: int, now: float) -> Line:
        if size:
            copy.held.append((now + self._hold, size))
        copy.since = now
        return copy.line
