"""Which connection of which gateway plays whom.

    gateway ── enter, seats ──▶ Coming: claimed by the keeper ─▶ a Role has the seat ── ok, entered ──▶
            ── input, call ───▶ behind the claim, else to the line
            ── exit ──────────▶ stored, then answered; a broken connection leaves its player for a while
    move    ── arrived ───────▶ entered, by another world than the one the client entered

A connection has one seat, a user one player. Who enters again, through whatever gateway,
takes its player over where it is.

Source: docs/storage.md, section 5; docs/protocol.md, section 6, maps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any

from common.errors import Busy, Conflict, NotJoined, RequestError, Unavailable
from common.net.links import Links
from common.net.metrics import Counters
from common.net.stage.cast import Cast, Role
from common.net.travel.keeper import Keeper
from common.rules.route import Record
from common.rules.stay import Stay
from common.wire.batch import pack_item
from common.wire.names import product_of, uid_of, user_key

Entered = list[Any]
"""[body of the answer, columns, rows of the grid, key of the line, route number]"""
Done = Callable[[Any], None]
Refuse = Callable[[RequestError], None]

UNTOLD = (Unavailable, Busy)
"""Refusals that will pass: the gateway asks again."""


class Coming:
    """A connection whose player is being claimed.

    Attributes:
        counted: its line has kept a place for it.
        waiting: what its client has sent since.
        exited: what to call when its exit is done; it is to leave at once.
        lost: the connection is no more.
    """

    __slots__ = (
        "counted",
        "data",
        "done",
        "exited",
        "gateway",
        "key",
        "lost",
        "number",
        "refuse",
        "user",
        "waiting",
    )

    def __init__(
        self, gateway: str, number: int, key: str, user: str, data: Any, done: Done, refuse: Refuse
    ) -> None:
        self.gateway = gateway
        self.number = number
        self.key = key
        self.user = user
        self.data = data
        self.done = done
        self.refuse = refuse
        self.counted = self.lost = False
        self.waiting: list[Callable[[Role | None], None]] = []
        self.exited: Callable[[], None] | None = None


class Seats:
    """All seats of a world process.

    Args:
        admit: called with (key, user): keeps a place in a line, or raises why not.
        release: called with the key: a place is free again.
        limit: inputs and calls that may wait for a claim.
    """

    def __init__(
        self,
        cast: Cast,
        keeper: Keeper,
        links: Links,
        admit: Callable[[str, str], None],
        release: Callable[[str], None],
        counters: Counters,
        limit: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._cast = cast
        self._keeper = keeper
        self._links = links
        self._admit = admit
        self._release = release
        self._counters = counters
        self._limit = limit
        self._clock = clock
        self._seats: defaultdict[str, dict[int, Role | Coming]] = defaultdict(dict)
        self._coming: dict[str, Coming] = {}

    # coming in

    def enter(
        self, gateway: str, number: int, key: str, uid: str, data: Any, done: Done, refuse: Refuse
    ) -> None:
        """Let a connection's user in, or give it back the player it has, where that is.

        Args:
            done: called with what the gateway is to know (`Entered`).
            refuse: called with why not; Conflict with `place`: it is in another process's line.

        Raises:
            RequestError: as `admit`.
        """
        user = user_key(product_of(key), uid)
        role = self._cast.roles.get(user)
        if role is not None and role.plays is not None:
            self._sit(role, gateway, number)
            done(self._told(role))
            return
        before = self._coming.get(user)
        if before is not None and (before.gateway, before.number) == (gateway, number):
            before.done, before.refuse, before.lost, before.exited = done, refuse, False, None
            return
        coming = Coming(gateway, number, key, user, data, done, refuse)
        if role is None:
            self._admit(key, uid)
            coming.counted = True
        else:
            role.leaves = False
            role.answer_ended()
        if before is not None:
            self._refused(before, Conflict("the player was entered again"))
        self._coming[user] = coming
        self._seats[gateway][number] = coming
        self._keeper.enter(user, key, partial(self._came, coming), partial(self._refused, coming))

    def _came(self, coming: Coming, stay: Stay, record: Record) -> None:
        """The player is this process's: it is let in, if it is not in."""
        if self._coming.get(coming.user) is not coming:
            return
        role = self._cast.roles.get(coming.user)
        if role is None:
            try:
                role = self._let_in(coming, stay, record)
            except RequestError as error:
                self._refused(coming, error)
                return
        elif coming.counted:
            self._release(coming.key)
        self._end(coming)
        if coming.lost:
            stay.lost(self._clock())
        elif coming.exited is not None:
            self._cast.leave(role, coming.exited)
        else:
            self._sit(role, coming.gateway, coming.number)
            coming.done(self._told(role))
        for waiting in coming.waiting:
            waiting(role)

    def _let_in(self, coming: Coming, stay: Stay, record: Record) -> Role:
        """Give a claimed player its role; it had one while it was asked for if no place was kept."""
        if not coming.counted:
            try:
                self._admit(coming.key, uid_of(coming.user))
            except RequestError:
                self._cast.give_back(stay, record)
                raise
            coming.counted = True
        role = self._cast.come(stay, record, coming.data)
        role.counted = True
        return role

    def _refused(self, coming: Coming, error: RequestError) -> None:
        if self._coming.get(coming.user) is not coming:
            return
        if coming.counted:
            self._release(coming.key)
        self._end(coming)
        if coming.exited is not None:
            coming.exited()
        elif not coming.lost:
            coming.refuse(error)
        for waiting in coming.waiting:
            waiting(None)

    def _end(self, coming: Coming) -> None:
        """It is coming no more."""
        del self._coming[coming.user]
        self._drop(coming.gateway, coming.number, coming)

    def _drop(self, gateway: str, number: int, seat: Role | Coming) -> None:
        here = self._seats[gateway]
        if here.get(number) is seat:
            del here[number]

    def arrived(self, role: Role, gateway: str, number: int) -> None:
        """A player has come by a move; its client's gateway is told, if that is its connection still."""
        if number in self._seats[gateway]:
            self.lost(role)
            return
        self._sit(role, gateway, number)
        self.thawed(role)

    def lost(self, role: Role) -> None:
        """A player has nobody who plays it."""
        role.stay.lost(self._clock())

    def _sit(self, role: Role, gateway: str, number: int) -> None:
        """Give a connection its player; another one that has had it is told."""
        before = role.gateway, role.number
        if role.gateway and before != (gateway, number):
            self._stand(role)
            self._links.send(before[0], pack_item(["unseat", before[1], role.key]))
        other = self._seats[gateway].get(number)
        if isinstance(other, Role) and other is not role:
            self._stand(other)
            self.lost(other)
        self._seats[gateway][number] = role
        self._cast.seat(role, gateway, number)

    def _stand(self, role: Role) -> None:
        self._drop(role.gateway, role.number, role)
        self._cast.unseat(role)

    def _told(self, role: Role) -> Entered:
        playing = role.plays
        assert playing is not None
        line, player = playing
        grid = line.space.interest.grid
        return [line.welcome(player), grid.columns, grid.rows, role.key, role.stay.route_ver]

    # playing

    def exit(self, gateway: str, number: int, lost: bool, done: Callable[[], None], uid: str = "") -> None:
        """A connection plays no more; `done()` once what it was is stored.

        Args:
            lost: it broke; the player stays for a while.
            uid: only if it is this one's; "": whoever's.
        """
        seat = self._seats[gateway].get(number)
        if seat is None or (uid and uid_of(seat.user) != uid):
            done()
        elif isinstance(seat, Coming):
            seat.lost = lost
            seat.exited = None if lost else done
            if lost:
                done()
        else:
            self._stand(seat)
            if lost:
                self.lost(seat)
                done()
            else:
                self._cast.leave(seat, done)

    def input(self, gateway: str, number: int, n: int, data: Any) -> None:
        """Take an input of a connection; one that plays nobody is not heard."""
        seat = self._seats[gateway].get(number)
        if isinstance(seat, Coming):
            if len(seat.waiting) < self._limit:
                seat.waiting.append(partial(self._offer, n, data))
            else:
                self._counters.inputs_dropped += 1
        else:
            self._offer(n, data, seat)

    @staticmethod
    def _offer(n: int, data: Any, role: Role | None) -> None:
        playing = role.plays if role is not None else None
        if playing is not None:
            playing[0].offer(playing[1], n, data)

    def again(self, gateway: str, number: int) -> None:
        """A client has missed something: it is to be told all it sees."""
        seat = self._seats[gateway].get(number)
        playing = seat.plays if isinstance(seat, Role) else None
        if playing is not None:
            playing[0].renew(playing[1])

    def call(self, gateway: str, number: int, method: str, args: Any, done: Done, refuse: Refuse) -> None:
        """Give the result of a method of the map to `done`, or to `refuse` why there is none."""
        seat = self._seats[gateway].get(number)
        if not isinstance(seat, Coming):
            self._call(method, args, done, refuse, seat)
        elif len(seat.waiting) < self._limit:
            seat.waiting.append(partial(self._call, method, args, done, refuse))
        else:
            refuse(Busy("too much waits for the player to come in"))

    @staticmethod
    def _call(method: str, args: Any, done: Done, refuse: Refuse, role: Role | None) -> None:
        if role is None:
            refuse(NotJoined("not in this map", field="map"))
            return
        playing = role.plays
        if playing is None:
            refuse(Unavailable("the player is on its way"))
            return
        try:
            value = playing[0].call(playing[1], method, args)
        except RequestError as error:
            refuse(error)
        else:
            done(value)

    # gateways

    def announce(self, gateway: str, rows: Iterable[list[Any]]) -> None:
        """A gateway tells whom its connections play, or ask for: a row for each seat.

        A row is [key, connection, uid, data]. Each hears where it is now (`entered`), where else it
        is to be asked for (`elsewhere`), or that it is nowhere (`unseat`); a line that began anew lets
        it in again. One that is refused for now hears nothing: it is asked for again. Who is played, or
        asked for, by another connection meanwhile is not taken back.
        """
        for key, number, uid, data in rows:
            if self._others(user_key(product_of(key), uid), gateway, number):
                self._links.send(gateway, pack_item(["unseat", number, key]))
                continue
            entered = partial(self._entered, gateway, number, uid)
            refused = partial(self._not_entered, gateway, number, key)
            try:
                self.enter(gateway, number, key, uid, data, entered, refused)
            except RequestError as error:
                refused(error)

    def _others(self, user: str, gateway: str, number: int) -> bool:
        """Tell whether another connection has a user's player, or is about to."""
        held = self._coming.get(user) or self._cast.roles.get(user)
        is_held = held is not None and held.gateway != "" and not (isinstance(held, Coming) and held.lost)
        return held is not None and is_held and (held.gateway, held.number) != (gateway, number)

    def _entered(self, gateway: str, number: int, uid: str, told: Entered) -> None:
        self._links.send(gateway, pack_item(["entered", number, uid, *told]))

    def _not_entered(self, gateway: str, number: int, key: str, error: RequestError) -> None:
        place = error.facts.get("place")
        if isinstance(error, Conflict) and place:
            self.elsewhere(gateway, number, key, place)
        elif not isinstance(error, UNTOLD):
            self._links.send(gateway, pack_item(["unseat", number, key]))

    def elsewhere(self, gateway: str, number: int, key: str, place: str) -> None:
        """A gateway is to ask for a player at another place."""
        self._links.send(gateway, pack_item(["elsewhere", number, key, place]))

    def link_down(self, gateway: str) -> None:
        """A gateway is out of touch: its players stay for a while."""
        for seat in list(self._seats.pop(gateway, {}).values()):
            if isinstance(seat, Coming):
                seat.lost, seat.exited = True, None
            else:
                self._cast.unseat(seat)
                self.lost(seat)

    # what the cast tells

    def thawed(self, role: Role) -> None:
        """A player goes on: its client is told where."""
        if role.gateway:
            self._entered(role.gateway, role.number, uid_of(role.stay.user), self._told(role))

    def ended(self, role: Role) -> None:
        """A player is gone; its client's gateway hears where, a client that was not the reason hears so."""
        if role.counted:
            self._release(role.key)
        if role.gateway:
            gateway, number = role.gateway, role.number
            self._drop(gateway, number, role)
            if role.stay.reason == "moved":
                self.elsewhere(gateway, number, role.key, role.to)
            elif role.stay.reason == "lost":
                self._links.send(gateway, pack_item(["unseat", number, role.key]))
