"""Matchmaking at its home: one world process for each map of a product.

    player ── call, map: match.find, match.cancel, match.accept, match.status ──▶ here
    here   ── line_make ──▶ function: an instance for those who have accepted
           ── deliver ──▶ session ──▶ `inbox` from "": {"match": {"state": …}}

    waiting ─▶ offered ─▶ accepted ─▶ made {map, line, teams}        ended {reason}

What is decided stands in common/rules/matching.py. Nothing is stored: with its home the
tickets of a map are gone, which `match.status` tells those who ask (`none`).
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gevent.event import Event

from common.errors import BadField, NotFound, RequestError
from common.handlers import Handlers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.tasks import Tasks
from common.rules.matching import Match, Matching, MatchLimits
from common.rules.queue import Mode
from common.settings import Matches as Settings
from common.wire.codec import pack
from common.wire.names import area_key, is_name, user_key

METHODS = Handlers("match methods")
MADE_AT_ONCE = 20
"""Matches made in one go, so that a tick of the same process is not late."""
NOTICES = 10_000
"""Notices on their way to sessions; above it the oldest are dropped: `match.status` tells."""
INSTANCES_AT_ONCE = 16

Rank = Callable[[str, float], float]
"""Gives the rank of a user ("product/uid"), who claims one."""
Make = Callable[[str, int, Any], str]
"""Makes an instance: area, players, data → line (common/net/lines/desk.py)."""
Deliver = Callable[[list[str], bytes], None]
"""Passes data to users as a live `inbox` from ""; may block, may raise RequestError."""


class Matches:
    """The matches of one map, for all products whose home this process is.

    Args:
        map_name, modes: the map and what can be played in it; modes are refused at once
            where nobody could play them.
        rank: the map's word on ranks.
    """

    def __init__(
        self,
        map_name: str,
        modes: Mapping[str, Mode],
        settings: Settings,
        make: Make,
        deliver: Deliver,
        tasks: Tasks,
        rank: Rank = lambda user, claimed: claimed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rank = rank
        self.clock = clock
        self._map = map_name
        self._modes = modes
        self._limits = MatchLimits(settings.tickets, settings.wait, settings.accept, settings.remember)
        self._every = settings.step_every
        self._make = make
        self._deliver = deliver
        self._tasks = tasks
        self._products: dict[str, Matching] = {}
        self._making = 0
        self._notices: deque[tuple[list[str], bytes]] = deque(maxlen=NOTICES)
        self._told = Event()
        self._failures = Doubling()
        self._log = get_log()
        self._new()

    def __len__(self) -> int:
        return sum(map(len, self._products.values()))

    def _new(self) -> Matching:
        return Matching(self._modes, self._map, self._limits, time.time_ns() // 1_000_000)

    def start(self) -> None:
        """Begin to make matches."""
        self._tasks.every("matches", self._every, self.step)
        self._tasks.spawn("match notices", self.run, core=True)

    def of(self, product: str) -> Matching:
        """Give a product's matches."""
        return self._products.get(product) or self._new()

    def call(self, product: str, uid: str, method: str, args: Any) -> Any:
        """Answer a `call` of a user; does not switch.

        Raises:
            NotFound: no such method.
            RequestError: what the method says.
        """
        handler = METHODS.get(method)
        if handler is None:
            raise NotFound(f"no method {method!r} here", field="method")
        if args is not None and type(args) is not dict:
            raise BadField("must be a map with the fields", field="args")
        matching = self.of(product)
        result = handler(self, matching, product, uid, args or {})
        if len(matching):
            self._products[product] = matching
        self._pass_on(product, matching)
        return result

    def step(self) -> None:
        """Let time pass for all products; does not switch."""
        for product, matching in self._products.items():
            matching.step(self.clock(), MADE_AT_ONCE)
            self._pass_on(product, matching)
            while matching.agreed and self._making < INSTANCES_AT_ONCE:
                self._making += 1
                self._tasks.spawn("match instance", self._instance, product, matching, matching.agreed.pop(0))

    def _instance(self, product: str, matching: Matching, match: Match) -> None:
        """Make the instance of a match, or have all wait on."""
        data = {"guests": list(match.uids), "match": match.number, "mode": match.mode, "teams": match.players}
        line = ""
        try:
            line = self._make(area_key(product, self._map), len(match.uids), data)
        except RequestError as error:
            if self._failures.hit():
                self._log.warning("no instance for a match", error=error.message, count=self._failures.count)
        finally:
            self._making -= 1
            if line:
                matching.made(match, line, self.clock())
            else:
                matching.failed(match)
            self._pass_on(product, matching)

    def _pass_on(self, product: str, matching: Matching) -> None:
        for uids, told in matching.notices:
            users = [user_key(product, uid) for uid in uids]
            self._notices.append((users, pack({"match": told | {"map": self._map}})))
        if matching.notices:
            matching.notices.clear()
            self._told.set()

    def run(self) -> None:
        """Pass the notices on, one after the other."""
        while True:
            self._told.wait()
            self._told.clear()
            while self._notices:
                users, data = self._notices.popleft()
                try:
                    self._deliver(users, data)
                except RequestError as error:
                    if self._failures.hit():
                        self._log.warning(
                            "notice of a match lost", error=error.message, count=self._failures.count
                        )


@METHODS.on("match.find")
def find(
    matches: Matches, matching: Matching, product: str, uid: str, args: dict[str, Any]
) -> dict[str, Any]:
    """Wait for a match: mode, rank? and party? [uid…], others who play along; gives as `match.status`."""
    mode, claimed, others = args.get("mode"), args.get("rank", 0), args.get("party", [])
    if type(mode) is not str:
        raise BadField("mode must be a string", field="mode")
    if type(claimed) not in (int, float) or not math.isfinite(claimed):
        raise BadField("rank must be a number", field="rank")
    if type(others) is not list or not all(map(is_name, others)):
        raise BadField("party must be an array of uids", field="party")
    rank = matches.rank(user_key(product, uid), claimed)
    return matching.find(mode, [uid, *others], rank, matches.clock())


@METHODS.on("match.cancel")
def cancel(
    matches: Matches, matching: Matching, product: str, uid: str, args: dict[str, Any]
) -> dict[str, Any]:
    """Wait no more, or decline what is offered; the whole party is out."""
    matching.cancel(uid, matches.clock())
    return matching.status(uid, matches.clock())


@METHODS.on("match.accept")
def accept(
    matches: Matches, matching: Matching, product: str, uid: str, args: dict[str, Any]
) -> dict[str, Any]:
    """Take the match that is offered, or with `yes` false not: match, yes?; gives as `match.status`."""
    number, yes = args.get("match"), args.get("yes", True)
    if type(number) is not int:
        raise BadField("match must be the number offered", field="match")
    if type(yes) is not bool:
        raise BadField("yes must be a bool", field="yes")
    return matching.accept(uid, number, yes, matches.clock())


@METHODS.on("match.status")
def status(
    matches: Matches, matching: Matching, product: str, uid: str, args: dict[str, Any]
) -> dict[str, Any]:
    """Say how it stands: state (none, waiting, offered, accepted, made) and what belongs to it."""
    return matching.status(uid, matches.clock())
