"""What clients see of the maps they are in: whose centre is where, and each tick's way to them.

    world ── tick ──▶ changed cells, by centre joined once ──▶ every seat with that centre
                      new centres ──▶ the whole of cells that came in, an empty one for those that went

Clients with one centre watch the same cells, so they are given the same bytes. One that
reads too slowly misses ticks as it would miss a room's messages; when it has caught up
it is taken out (*stale*), and its world is asked for all it sees.

Where a player is, its world says: a seat follows it from world to world (`entered`,
`elsewhere`). One whose world is out of touch, or where the player is not yet, is *away*: it is
asked for until a world lets it in.

Source: docs/worlds.md, what clients are told; docs/protocol.md, section 6, maps.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gevent import sleep

from common.net.front.parts import send_in_parts
from common.net.links import Links
from common.net.metrics import Counters
from common.net.pace import in_parts
from common.rules.grid import NOWHERE, around
from common.wire.batch import pack_item
from common.wire.codec import encode
from common.wire.names import map_of, uid_of
from common.wire.states import NO_ROWS, Acks, cell_frame

if TYPE_CHECKING:
    from common.net.front.connection import Connection

ASK_EVERY = 0.5
"""Seconds between two questions for a seat that is away."""
SEATS_ANNOUNCED = 200
"""Seats in one item; each may bring along what its client sent with `enter`."""


class Seat:
    """One client in one map.

    Attributes:
        key: "product/map/line"; map: as clients name it.
        data: what the client sent with `enter`: a world that lost the player needs it again.
        columns, rows: of the map's grid; 0 until the world has answered.
        centre: the middle of what it watches; NOWHERE: it is told nothing of cells.
        held: cells its client may know something of.
        stale: it has missed something; until it is told all again it is told nothing.
        offset: of the newest tick.
        route: the newest route number of its player: of two worlds the higher one has it.
        away: no world has it now, as far as is known; asked_at: when one was last asked for it.
        hops: worlds that were asked for it in vain since its client entered.
    """

    __slots__ = (
        "asked_at",
        "away",
        "centre",
        "columns",
        "connection",
        "data",
        "held",
        "hops",
        "key",
        "map",
        "offset",
        "route",
        "rows",
        "stale",
        "views",
        "world",
    )

    def __init__(self, views: Views, connection: Connection, key: str, world: str, data: Any) -> None:
        self.views = views
        self.connection = connection
        self.key = key
        self.map = map_of(key)
        self.world = world
        self.data = data
        self.columns = self.rows = 0
        self.centre = NOWHERE
        self.held: tuple[int, ...] = ()
        self.stale = self.away = False
        self.offset = self.hops = 0
        self.route = -1
        self.asked_at = 0.0

    def is_in(self, world: str) -> bool:
        """Tell whether its client is still in it, and it in this world."""
        return self.connection.seat is self and self.world == world

    def row(self) -> list[Any]:
        """Give what its world is told of it when it has lost sight of it."""
        return [self.key, self.connection.number, uid_of(self.connection.user), self.data]

    def caught_up(self, connection: Connection, offset: int) -> None:
        """The client reads again, and has missed ticks."""
        if connection.seat is self:
            self.views.renew(self)


class LineSeats:
    """The seats in one line of a map.

    Attributes:
        seats: connection number -> seat.
        centres: centre -> those with it.
        unasked: those for whom the world could not be asked yet.
    """

    __slots__ = ("centres", "seats", "unasked")

    def __init__(self) -> None:
        self.seats: dict[int, Seat] = {}
        self.unasked: dict[Seat, None] = {}
        self.centres: defaultdict[int, dict[Seat, None]] = defaultdict(dict)

    def put(self, seat: Seat, centre: int) -> None:
        """Let a seat have another centre; NOWHERE for none."""
        if seat.centre != NOWHERE:
            here = self.centres[seat.centre]
            here.pop(seat, None)
            if not here:
                del self.centres[seat.centre]
        seat.centre = centre
        if centre != NOWHERE:
            self.centres[centre][seat] = None


class Views:
    """All seats of this gateway.

    Args:
        links: to the worlds.
        slice_seconds: fan-out yields after this.
        counters: `deliveries`.
    """

    def __init__(self, links: Links, slice_seconds: float, counters: Counters) -> None:
        self._links = links
        self._slice = slice_seconds
        self._counters = counters
        self._lines: dict[str, LineSeats] = {}
        self._walks: dict[str, object] = {}
        self._away: dict[Seat, None] = {}

    def __len__(self) -> int:
        return sum(len(line.seats) for line in self._lines.values())

    # seats

    def take(self, connection: Connection, key: str, world: str, data: Any) -> Seat:
        """Give a connection a seat."""
        seat = connection.seat = Seat(self, connection, key, world, data)
        self._lines.setdefault(key, LineSeats()).seats[connection.number] = seat
        return seat

    def leave(self, connection: Connection) -> None:
        """Take a connection's seat away; nothing happens when it has none."""
        seat, connection.seat = connection.seat, None
        if seat is None:
            return
        connection.covered(seat)
        self._away.pop(seat, None)
        self._take_out(seat)

    def _take_out(self, seat: Seat) -> None:
        line = self._lines[seat.key]
        line.put(seat, NOWHERE)
        line.unasked.pop(seat, None)
        del line.seats[seat.connection.number]
        if not line.seats:
            del self._lines[seat.key]

    def move(self, seat: Seat, key: str, world: str) -> None:
        """Put a seat into another line."""
        self._take_out(seat)
        seat.key, seat.map, seat.world = key, map_of(key), world
        self._lines.setdefault(key, LineSeats()).seats[seat.connection.number] = seat

    def lost(self, connection: Connection, gone_for_good: bool) -> None:
        """A connection has ended: its world is told."""
        seat = connection.seat
        if seat is not None:
            self.leave(connection)
            self._links.send(seat.world, pack_item(["exit", 0, connection.number, not gone_for_good]))

    def placed(self, seat: Seat, columns: int, rows: int, key: str, world: str, route: int) -> None:
        """A world has let a seat in: its client knows nothing, and will be told all."""
        if key != seat.key:
            self.move(seat, key, world)
        seat.columns, seat.rows, seat.route = columns, rows, route
        seat.held = ()
        seat.stale = seat.away = False
        seat.hops = 0
        self._away.pop(seat, None)
        seat.connection.covered(seat)
        line = self._lines[seat.key]
        line.unasked.pop(seat, None)
        line.put(seat, NOWHERE)

    def renew(self, seat: Seat) -> None:
        """Ask the world to tell a seat all it sees; until then it is told nothing."""
        line = self._lines[seat.key]
        seat.stale = True
        line.put(seat, NOWHERE)
        if self._links.send(seat.world, pack_item(["again", seat.connection.number])):
            line.unasked.pop(seat, None)
        else:
            line.unasked[seat] = None

    # worlds

    def away(self, world: str) -> None:
        """A world is out of touch: the clients in its maps hear so."""
        self._walks.pop(world, None)
        for seat in self._seats_of(world):
            self._lines[seat.key].put(seat, NOWHERE)
            if seat.columns:
                self._miss(seat)
                seat.connection.send(encode("entered", 0, {"map": seat.map, "away": True}))

    def announce(self, world: str) -> None:
        """Tell a world, whose stream began anew, all its seats that it had let in; switches greenlets."""
        walk = self._walks[world] = object()
        let_in = [seat for seat in self._seats_of(world) if seat.columns]
        sent = send_in_parts(
            self._links,
            world,
            (seat if seat.is_in(world) else None for seat in let_in),
            SEATS_ANNOUNCED,
            lambda seats: pack_item(["seats", [seat.row() for seat in seats]]),
            lambda seat: seat.is_in(world),
            lambda: self._walks.get(world) is walk,
        )
        if sent:
            del self._walks[world]

    def elsewhere(self, seat: Seat, key: str, world: str) -> None:
        """A seat's player is at another place: it will be asked for there, unless that world is faster."""
        self.move(seat, key, world)
        self._miss(seat)
        if not self._links.up(world):
            seat.connection.send(encode("entered", 0, {"map": seat.map, "away": True}))

    def _miss(self, seat: Seat) -> None:
        seat.away, seat.asked_at = True, time.monotonic()
        self._away[seat] = None

    def step(self) -> None:
        """Now and then: ask for the seats that are away, but not while all of their world are announced."""
        now = time.monotonic()
        wanted: defaultdict[str, list[Seat]] = defaultdict(list)
        for seat in self._away:
            is_due = seat.asked_at <= now - ASK_EVERY and seat.world not in self._walks
            if is_due and self._links.up(seat.world):
                wanted[seat.world].append(seat)
        for world, seats in wanted.items():
            for part in in_parts(seats, SEATS_ANNOUNCED):
                if not self._links.send(world, pack_item(["seats", [seat.row() for seat in part]])):
                    break
                for seat in part:
                    seat.asked_at = now

    def _seats_of(self, world: str) -> list[Seat]:
        lines = self._lines.values()
        return [seat for line in lines for seat in line.seats.values() if seat.world == world]

    # ticks

    def tick(
        self,
        key: str,
        tick: int,
        cells: Sequence[tuple[int, bytes]],
        centres: Sequence[tuple[int, int, int]],
        fulls: Sequence[tuple[int, bytes]],
        acks: Sequence[tuple[int, int]],
        to_all: bytes,
        to_one: Sequence[tuple[int, bytes]],
    ) -> None:
        """Write a tick of a line to those it concerns; yields while it does (common/wire/states.py)."""
        line = self._lines.get(key)
        if line is None:
            return
        for unasked in list(line.unasked):
            self.renew(unasked)
        left = dict(acks)
        self._write_changes(line, tick, dict(cells), to_all, left)
        whole = dict(fulls)
        yield_at = time.monotonic() + self._slice
        for number, centre, before in centres:
            seat = line.seats.get(number)
            if seat is not None and seat.columns:
                self._recentre(line, seat, tick, centre, before == NOWHERE, whole)
            yield_at = self._breathe(yield_at)
        own = Acks(map_of(key), tick)
        for number, frame in [*to_one, *((number, own.frame(ack)) for number, ack in left.items())]:
            seat = line.seats.get(number)
            if seat is not None and not seat.stale:
                seat.connection.push(frame, seat, tick)

    def _write_changes(
        self, line: LineSeats, tick: int, changed: Mapping[int, bytes], to_all: bytes, acks: dict[int, int]
    ) -> None:
        """Write what changed to all who watch it, each with its own ack, taken out of `acks`, behind it."""
        own: Acks | None = None
        yield_at = time.monotonic() + self._slice
        for centre, here in list(line.centres.items()):
            seats = list(here)
            if not seats:
                continue
            own = own or Acks(seats[0].map, tick)
            watched = around(centre, seats[0].columns, seats[0].rows)
            parts = [changed[cell] for cell in watched if cell in changed]
            if to_all:
                parts.append(to_all)
            blob = parts[0] if len(parts) == 1 else b"".join(parts)
            for seat in seats:
                connection = seat.connection
                ack = acks.pop(connection.number, None)
                if connection.seat is seat and (blob or ack is not None):
                    seat.offset = tick
                    connection.push(blob, seat, tick, own.frame(ack) if ack is not None else b"")
            self._counters.deliveries += len(parts) * len(seats)
            yield_at = self._breathe(yield_at)

    def _breathe(self, yield_at: float) -> float:
        """Let others run when it is time; give when it is again. Seats may go meanwhile."""
        if time.monotonic() < yield_at:
            return yield_at
        sleep(0)
        return time.monotonic() + self._slice

    def _recentre(
        self, line: LineSeats, seat: Seat, tick: int, centre: int, blind: bool, whole: Mapping[int, bytes]
    ) -> None:
        """Let a seat watch the cells around another centre.

        Args:
            blind: the world tells it all; else only what the centre before did not show.
        """
        if seat.stale and not blind:
            return
        new = around(centre, seat.columns, seat.rows)
        known = () if blind else seat.held
        parts = [whole[cell] for cell in new if cell in whole and cell not in known]
        ended = [cell for cell in seat.held if cell not in new or (blind and cell not in whole)]
        parts += [cell_frame(seat.map, tick, cell, NO_ROWS, full=True) for cell in ended]
        seat.stale = False
        seat.offset = tick
        line.put(seat, centre)
        if parts:
            seat.connection.push(b"".join(parts), seat, tick)
        if seat.connection.missed(seat):
            seat.stale = True
            line.put(seat, NOWHERE)
        else:
            seat.held = new
