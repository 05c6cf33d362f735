"""All lines of a world process, and which connection of which gateway plays whom in them.

A line is made when the first player comes and closed when it was empty for a while. A
player whose connection is lost stays for `linkdead` seconds: who enters again meanwhile,
through any gateway, goes on as the same entity in the same place.

Source: docs/architecture.md, maps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from common.errors import Internal, NotFound, NotJoined, RequestError
from common.net.links import Links
from common.net.log import Logger
from common.net.metrics import Metrics
from common.net.pulse import Lag
from common.net.stage.line import COUNTERS, Line, Space
from common.net.stage.publication import Publication
from common.net.tasks import Tasks
from common.rules.entity import Player
from common.rules.hosting import Hosting
from common.settings import World as WorldSettings
from common.wire.batch import pack_item

LAG_EVERY = 0.1
"""Ticks that end later than this count as many times as it fits: those behind them were late too."""
LAG_WINDOW = 200 * LAG_EVERY
"""Seconds of which ticks the percentiles speak, at 10 ticks a second and one line."""


class Seat(NamedTuple):
    """Whom a connection plays."""

    line: Line
    player: Player


class Stage:
    """The spatial side of one world process.

    Args:
        make_space: gives a copy of this process's map for a line's name and what an instance was
            made with; None: the map is not spatial.
        hosting: which copies there are, who may come in, when they close.
        thaw: fences the process if it was frozen.
        clock: monotonic seconds.

    Attributes:
        lines: "product/map/line" -> line.
    """

    def __init__(
        self,
        make_space: Callable[[str, Any], Space] | None,
        hosting: Hosting,
        settings: WorldSettings,
        links: Links,
        tasks: Tasks,
        metrics: Metrics,
        log: Logger,
        thaw: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines: dict[str, Line] = {}
        self._make_space = make_space
        self.hosting = hosting
        self._settings = settings
        self._links = links
        self._tasks = tasks
        self._log = log
        self._thaw = thaw
        self._clock = clock
        self._counters = metrics.area("stage", COUNTERS)
        self._lag = Lag(LAG_EVERY, LAG_WINDOW)
        self._seats: dict[str, dict[int, Seat]] = {}
        self._overruns = 0
        if make_space is not None:
            self._expose(metrics)

    def _expose(self, metrics: Metrics) -> None:
        metrics.gauge("lines", "copies of the map", lambda: len(self.lines), area="stage")
        metrics.gauge("players", "players in them", self.players, area="stage")
        metrics.gauge(
            "tick_ms",
            "from a tick's due moment to its last publish, of the last 200",
            self._lag.milliseconds,
            area="stage",
            label="quantile",
        )

    def players(self) -> int:
        """Give how many players are in all lines."""
        return sum(len(line.space.players) for line in self.lines.values())

    # what clients do

    def enter(self, gateway: str, number: int, key: str, uid: str, data: Any) -> list[Any]:
        """Let a connection's user in, or give it back the player it has.

        Returns:
            [body of the answer, columns, rows of the grid]

        Raises:
            NotFound: this map has no places, or the copy is not here.
            Forbidden: it is an instance made for others.
            Full: too many are in the line, or there are too many here.
            RequestError: the map does not let it in.
        """
        line = self.lines.get(key)
        player = line.space.players.get(uid) if line is not None else None
        if line is None or player is None:
            if self._make_space is None:
                raise NotFound("this map cannot be entered", field="map")
            copy = self.hosting.admit(key, uid, self._clock())
            line = self._line(key, copy.data)
            player = line.enter(uid, data)
            self.hosting.entered(copy)
        elif player.gateway and (player.gateway, player.number) != (gateway, number):
            self._take_seat(line, player)
        line.seat(player, gateway, number)
        self._seats.setdefault(gateway, {})[number] = Seat(line, player)
        grid = line.space.interest.grid
        return [line.welcome(player), grid.columns, grid.rows]

    def _take_seat(self, line: Line, player: Player) -> None:
        """Another connection takes a player over: tell the one that has had it."""
        gateway, number = player.gateway, player.number
        self._seats[gateway].pop(number, None)
        line.unseat(player)
        self._links.send(gateway, pack_item(["unseat", number, line.key]))

    def exit(self, gateway: str, number: int, lost: bool) -> None:
        """A connection plays no more; nothing happens when it did not.

        Args:
            lost: it broke; the player stays for a while.
        """
        seat = self._seats.get(gateway, {}).pop(number, None)
        if seat is None:
            return
        if lost:
            seat.line.unseat(seat.player)
        else:
            self._leave(seat.line, seat.player)

    def _leave(self, line: Line, player: Player) -> None:
        line.leave(player)
        copy = self.hosting.get(line.key)
        if copy is not None:
            self.hosting.left(copy, self._clock())

    def input(self, gateway: str, number: int, n: int, data: Any) -> None:
        """Take an input of a connection; one that plays nobody is not heard."""
        seat = self._seats.get(gateway, {}).get(number)
        if seat is not None:
            seat.line.offer(seat.player, n, data)

    def again(self, gateway: str, number: int) -> None:
        """A client has missed something: it is to be told all it sees."""
        seat = self._seats.get(gateway, {}).get(number)
        if seat is not None:
            seat.line.renew(seat.player)

    def call(self, gateway: str, number: int, method: str, args: Any) -> Any:
        """Give the result of a method of the map.

        Raises:
            NotJoined: the connection plays nobody.
            RequestError: what the map says.
        """
        seat = self._seats.get(gateway, {}).get(number)
        if seat is None:
            raise NotJoined("not in this map", field="map")
        return seat.line.call(seat.player, method, args)

    # gateways

    def announce(self, gateway: str, rows: list[list[Any]]) -> None:
        """A gateway, whose stream began anew, tells whom its connections play: a row for each seat.

        A row is [key, connection, uid, data]. Each hears where it is now (`entered`), or that it
        is nowhere (`unseat`); a line that began anew lets it in again.
        """
        for key, number, uid, data in rows:
            try:
                item = ["entered", number, *self.enter(gateway, number, key, uid, data)]
            except RequestError:
                item = ["unseat", number, key]
            self._links.send(gateway, pack_item(item))

    def link_down(self, gateway: str) -> None:
        """A gateway is out of touch: its players stay for a while."""
        for seat in self._seats.pop(gateway, {}).values():
            seat.line.unseat(seat.player)

    # lines

    def _line(self, key: str, made: Any) -> Line:
        line = self.lines.get(key)
        if line is not None:
            return line
        assert self._make_space is not None
        try:
            space = self._make_space(key.rpartition("/")[2], made)
        except Exception:  # noqa: BLE001 - a map that cannot be made must not end the rooms beside it
            self._counters.failures += 1
            self._log.exception("map cannot be made", line=key)
            raise Internal("the map failed") from None
        publication = Publication(key, space.interest, self._links, self._counters)
        line = Line(
            key,
            space,
            publication,
            self._counters,
            self._lag,
            self._log,
            self._settings.input_queue,
            self._clock,
        )
        self.lines[key] = line
        line.open()
        self._tasks.spawn(f"line {key}", line.run, self._thaw)
        return line

    def step(self) -> None:
        """Let go of players that did not come back, and of copies nobody is in."""
        now = self._clock()
        for line in self.lines.values():
            gone = now - self._settings.linkdead
            for player in [one for one in line.space.players.values() if one.lost_at and one.lost_at < gone]:
                self._leave(line, player)
        for copy in self.hosting.over(now):
            self.hosting.close(copy)
            ended = self.lines.pop(copy.key, None)
            if ended is not None:
                ended.closed = True

    def busy(self) -> bool:
        """Tell whether ticks were skipped since the last call."""
        before, self._overruns = self._overruns, self._counters.overruns
        return before != self._overruns
