"""Moves of players between maps: the side a player leaves, and the one it comes to.

    A: freeze ── expect(user, place, id, facts) ──▶ B: has it room? waits
       commit: state, owner B, route_ver + 1
       gone   ── arrive(user, place, id, facts) ──▶ B: claims what is stored ─▶ came

The commit is one script, and its outcome alone says where the player is. Where A dies after
it, B's waiting runs out and B looks at storage itself; where B dies, whoever comes up
under its name finds its predecessor as the owner. Before the commit a player is A's, whatever happens.

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gevent.event import Event

from common.errors import Conflict, RequestError, Unavailable
from common.handlers import Handlers
from common.net.dbclient import Calls
from common.net.travel.keeper import MOVE_SECONDS, Keeper
from common.rules.route import Record
from common.rules.stay import Stay

MOVES = Handlers("world moves")
EXPECT_SECONDS = 3 * MOVE_SECONDS
"""How long a player is waited for before storage is asked."""
EXPECT_LIMIT = 2_000
"""Players waited for at the same time."""
ARRIVE_TRIES = 3

Admit = Callable[[str, str, Any], None]
"""Called with (user, place, facts) of a player that is to come; raises what refuses it."""
Arrived = Callable[[Stay, Record, Any], None]
"""Called with a player that has come by a move, what was stored of it, and the facts sent along."""


class Awaited(NamedTuple):
    """A player that is to come."""

    place: str
    move: str
    facts: Any
    until: float


class Mover:
    """The moves of one world process.

    Args:
        keeper: its players.
        callers: calls to other world processes.
        owner: gives "name incarnation term" of the present lease.
        admit, arrived: the map's side; they do not switch greenlets.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        keeper: Keeper,
        callers: Calls,
        owner: Callable[[], str],
        admit: Admit,
        arrived: Arrived,
        clock: Callable[[], float],
    ) -> None:
        self._keeper = keeper
        self._callers = callers
        self._owner = owner
        self._admit = admit
        self._arrived = arrived
        self._clock = clock
        self._awaited: dict[str, Awaited] = {}
        self._moves = 0

    def move(self, stay: Stay, world: str, place: str, facts: Any = None) -> None:
        """Move a player to another world process; returns once it is gone. Blocks its greenlet.

        Args:
            place: product/map/line there.
            facts: what the other side is to know: the connection, where to appear.

        Raises:
            RequestError: what the other side refused it with, or Unavailable where the commit did not
                take place: the player goes on here, or is lost (`stay.reason`).
        """
        self._moves += 1
        move = f"{self._owner()} {self._moves}"
        self._keeper.freeze(stay)
        try:
            to_owner = self._callers.call(world, "expect", stay.user, place, move, facts)
            over = Event()
            self._keeper.move(stay, to_owner, place, lambda _: over.set())
        except RequestError:
            self._keeper.give_up(stay)
            raise
        over.wait()
        if stay.live:
            raise Unavailable("the player was not moved")
        for _ in range(ARRIVE_TRIES):
            try:
                self._callers.call(world, "arrive", stay.user, place, move, facts)
                break
            except RequestError:
                continue
        if stay.reason == "lost":
            raise Conflict("the player has another owner")

    def expect(self, user: str, place: str, move: str, facts: Any) -> str:
        """Wait for a player; give the owner the commit is to name. A repeat changes nothing.

        Raises:
            Unavailable: too many are waited for.
            RequestError: what `admit` refuses with.
        """
        if user not in self._awaited and len(self._awaited) >= EXPECT_LIMIT:
            raise Unavailable("too many players are on their way here")
        self._admit(user, place, facts)
        self._awaited[user] = Awaited(place, move, facts, self._clock() + EXPECT_SECONDS)
        return self._owner()

    def arrive(self, user: str, place: str, move: str, facts: Any) -> None:
        """The commit took place, or may have: bring in a player, if storage says that it is ours.

        A repeat changes nothing. It needs no memory of `expect`: this may be the next life of who promised.
        """
        awaited = self._awaited.get(user)
        if awaited is not None and awaited.move == move:
            del self._awaited[user]
        self._look(user, Awaited(place, move, facts, 0.0))

    def step(self) -> None:
        """Now and then: look for those whose time is over."""
        now = self._clock()
        for user, awaited in [(user, one) for user, one in self._awaited.items() if one.until <= now]:
            del self._awaited[user]
            self._look(user, awaited)

    def expected(self, place: str) -> int:
        """Give how many are on their way to a place."""
        return sum(awaited.place == place for awaited in self._awaited.values())

    def _look(self, user: str, awaited: Awaited) -> None:
        """Bring in a player if storage says that it is ours; where storage is away, wait for it again."""

        def came(stay: Stay, record: Record) -> None:
            if record.owner:
                self._arrived(stay, record, awaited.facts)

        def refused(error: RequestError) -> None:
            if isinstance(error, Unavailable):
                later = awaited._replace(until=self._clock() + MOVE_SECONDS)
                self._awaited.setdefault(user, later)

        self._keeper.enter(user, awaited.place, came, refused, ours_only=True)


@MOVES.on("expect")
def expect(mover: Mover, user: str, place: str, move: str, facts: Any) -> str:
    """Have room kept for a player; contract: `Mover.expect`."""
    return mover.expect(user, place, move, facts)


@MOVES.on("arrive")
def arrive(mover: Mover, user: str, place: str, move: str, facts: Any) -> None:
    """Say that a player was moved here; contract: `Mover.arrive`."""
    mover.arrive(user, place, move, facts)
