"""The lines of a world process, and the players in them.

    hosting   which lines and instances there are      common/rules/hosting.py
    lines     their ticks                              line.py
    seats     which connection plays whom              seats.py
    cast      who plays, as its map has it             cast.py
    keeper    who plays, as storage has it             common/net/travel/keeper.py
    mover     on the way to another map, and from it   common/net/travel/moving.py

Source: docs/architecture.md, maps; docs/storage.md, section 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from common.errors import Conflict, Internal, NotFound, RequestError
from common.net.dbclient import Calls, Dbservers
from common.net.links import Links
from common.net.log import Doubling, Logger
from common.net.metrics import Metrics
from common.net.pulse import Lag
from common.net.stage.cast import Cast, Role
from common.net.stage.line import COUNTERS, Line, Space
from common.net.stage.publication import Publication
from common.net.stage.seats import Seats
from common.net.tasks import Tasks
from common.net.travel.keeper import Keeper
from common.net.travel.moving import Mover
from common.rules.errand import Errand, Saving
from common.rules.hosting import Hosting
from common.rules.route import Record
from common.rules.stay import Stay
from common.settings import World as WorldSettings
from common.wire.names import product_of, uid_of, user_key

LAG_EVERY = 0.1
"""Ticks that end later than this count as many times as it fits: those behind them were late too."""
LAG_WINDOW = 200 * LAG_EVERY
"""Seconds of which ticks the percentiles speak, at 10 ticks a second and one line."""
MOVE_COUNTERS = {
    "moved": "players that went to another map",
    "arrived": "players that came from another map",
    "stayed": "moves that did not take place; the player goes on where it was",
}


class Ways(NamedTuple):
    """What a stage reaches beyond its process.

    Args:
        callers: calls to other world processes.
        owner: gives "name incarnation term" of the present lease; fences the process if it was frozen.
        stands: tells how a recorded owner stands to this process (common/rules/owner.py).
        find: gives (line, world process) for a user in a map "product/map"; may block, may refuse.
    """

    dbservers: Dbservers
    callers: Calls
    owner: Callable[[], str]
    stands: Callable[[str], str]
    find: Callable[[str, str], tuple[str, str]]


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
        ways: Ways,
        links: Links,
        tasks: Tasks,
        metrics: Metrics,
        log: Logger,
        thaw: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lines: dict[str, Line] = {}
        self.hosting = hosting
        self._make_space = make_space
        self._settings = settings
        self._ways = ways
        self.links = links
        self._tasks = tasks
        self._log = log
        self._thaw = thaw
        self._clock = clock
        self._counters = counters = metrics.area("stage", COUNTERS | MOVE_COUNTERS)
        self._lag = Lag(LAG_EVERY, LAG_WINDOW)
        self._overruns = 0
        self._unmoved = Doubling()
        self.cast = cast = Cast(self.line)
        times = settings.linkdead, settings.save_every
        self.keeper = cast.keeper = Keeper(ways.dbservers, cast, ways.owner, ways.stands, *times, clock)
        self.seats = cast.audience = Seats(
            cast, self.keeper, links, self._admit, self._release, counters, settings.input_queue, clock
        )
        self.mover = Mover(self.keeper, ways.callers, ways.owner, self._expect, self._arrived, clock)
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

    def run(self) -> None:
        """Keep storage and players together, for ever."""
        self.keeper.run()

    # lines

    def _admit(self, key: str, uid: str) -> None:
        """Keep a place in a line.

        Raises:
            NotFound: this map has no places, or the copy is not here.
            Forbidden: it is an instance made for others.
            Full: too many are in the line, or there are too many here.
            Unavailable: the process is about to end.
        """
        if self._make_space is None:
            raise NotFound("this map cannot be entered", field="map")
        self.hosting.entered(self.hosting.admit(key, uid, self._clock()))

    def _release(self, key: str) -> None:
        copy = self.hosting.get(key)
        if copy is not None:
            self.hosting.left(copy, self._clock())

    def line(self, key: str) -> Line:
        """Give a line; it begins if it is not there.

        Raises:
            Internal: the map cannot be made.
        """
        line = self.lines.get(key)
        if line is not None:
            return line
        assert self._make_space is not None
        copy = self.hosting.get(key)
        try:
            space = self._make_space(key.rpartition("/")[2], copy.data if copy is not None else None)
        except Exception:  # noqa: BLE001 - a map that cannot be made must not end the rooms beside it
            self._counters.failures += 1
            self._log.exception("map cannot be made", line=key)
            raise Internal("the map failed") from None
        publication = Publication(key, space.interest, self.links, self._counters)
        made = Line(
            key,
            space,
            publication,
            self._counters,
            self._lag,
            self._log,
            self._settings.input_queue,
            lambda errand: self._carry(made, errand),
            self._clock,
        )
        self.lines[key] = made
        made.open()
        self._tasks.spawn(f"line {key}", made.run, self._thaw)
        return made

    def step(self) -> None:
        """Look for players who should have come, and let go of copies nobody is in."""
        now = self._clock()
        self.mover.step()
        for copy in self.hosting.over(now):
            self.hosting.close(copy)
            ended = self.lines.pop(copy.key, None)
            if ended is not None:
                ended.closed = True

    def busy(self) -> bool:
        """Tell whether ticks were skipped since the last call."""
        before, self._overruns = self._overruns, self._counters.overruns
        return before != self._overruns

    # what maps ask for

    def _carry(self, line: Line, errand: Errand) -> None:
        role = self.cast.roles.get(user_key(product_of(line.key), errand.player.uid))
        is_here = role is not None and role.player is errand.player and role.stay.live
        if isinstance(errand, Saving):
            then = partial(line.saved, errand.then)
            if role is not None and is_here:
                self.keeper.save(role.stay, then)
            else:
                then(False)
        elif role is not None and is_here and not role.travels:
            role.travels = True
            self._tasks.spawn(f"move {role.stay.user}", self._move, role, errand.map, errand.data)

    def _move(self, role: Role, to: str, data: Any) -> None:
        """Move a player to another map."""
        stay = role.stay
        try:
            place, world = self._ways.find(f"{product_of(role.key)}/{to}", uid_of(stay.user))
            if not stay.live:
                raise Conflict("the player has gone meanwhile")
            role.to = place
            self.mover.move(stay, world, place, [role.gateway, role.number, data])
        except RequestError as error:
            self._counters.stayed += 1
            if self._unmoved.hit():
                self._log.info("move did not take place", user=stay.user, to=to, error=error.message)
            return
        finally:
            role.travels = False
        self._counters.moved += 1

    # who comes by a move

    def _expect(self, user: str, place: str, facts: Any) -> None:
        """Refuse a player that cannot come in."""
        if self._make_space is None:
            raise NotFound("this map cannot be entered", field="map")
        self.hosting.admit(place, uid_of(user), self._clock(), self.mover.expected(place))

    def _arrived(self, stay: Stay, record: Record, facts: Any) -> None:
        """Let a player in that has come; one that cannot be let in after all leaves."""
        gateway, number, data = facts
        try:
            self._admit(stay.place, uid_of(stay.user))
        except RequestError as error:
            self._log.warning("a player that came has no place", user=stay.user, error=error.message)
            self.cast.give_back(stay, record)
            return
        try:
            role = self.cast.come(stay, record, data)
        except RequestError:
            self._release(stay.place)
            return
        role.counted = True
        self._counters.arrived += 1
        if gateway:
            self.seats.arrived(role, gateway, number)
        else:
            self.seats.lost(role)
