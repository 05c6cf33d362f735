"""From what changed in a tick to the gateways: one item each, every cell encoded once.

A gateway gets the changed cells its players watch, the new centres of players of its
own, and the whole of the cells these have come to watch. One whose queue is full misses
a tick: then all its players are told all they see again, in the first tick that fits.

Source: docs/worlds.md, what clients are told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from common.net.links import Links
from common.net.metrics import Counters
from common.rules.audience import Audience
from common.rules.entity import Entity, Player
from common.rules.grid import NOWHERE
from common.rules.interest import Changes, Interest
from common.wire.codec import pack
from common.wire.states import Rows, cell_frame, events_frame, pack_cell, pack_tick

NOTHING: Sequence[Any] = ()
Acks = Mapping[str, Sequence[tuple[int, int]]]


class Publication:
    """The way from one line to its players.

    Args:
        key: "product/map/line".
        interest: the line's.
        links: to the gateways.
        counters: `behind`, `failures`.
    """

    def __init__(self, key: str, interest: Interest, links: Links, counters: Counters) -> None:
        self.key = key
        self._map_name = key.split("/")[1]
        self._interest = interest
        self._links = links
        self._counters = counters
        self._audience = Audience(interest.grid.columns, interest.grid.rows)
        self._seen_by: defaultdict[str, dict[Player, None]] = defaultdict(dict)

    def drop(self, player: Player) -> None:
        """A player is told nothing more."""
        self._audience.drop(player)
        for players in self._seen_by.values():
            players.pop(player, None)

    def publish(
        self, tick: int, changes: Changes, acks: Acks, told: Sequence[tuple[Player | None, bytes]]
    ) -> None:
        """Send each gateway what its players are to be told of a tick."""
        cells = self._cells(tick, changes)
        wanted = self._audience.wanted
        rows = {
            gateway: [row for cell, row in cells.items() if cell in watched]
            for gateway, watched in wanted.items()
        }
        centres, fulls = self._recentre(tick, changes.recentred)
        acks = self._with_blind(acks, changes.recentred)
        to_all, to_one = self._told(tick, told)
        for gateway, players in list(self._seen_by.items()):
            if not players:
                del self._seen_by[gateway]
                continue
            mine = rows.get(gateway, NOTHING), centres.get(gateway, NOTHING), fulls.get(gateway, NOTHING)
            rest = acks.get(gateway, NOTHING), to_all, to_one.get(gateway, NOTHING)
            if not any((*mine, *rest)):
                continue
            if not self._links.send(gateway, pack_tick(self.key, tick, *mine, *rest)):
                self._missed(gateway)

    def _cells(self, tick: int, changes: Changes) -> dict[int, bytes]:
        """Encode each changed cell that somebody watches."""
        empty = NOTHING
        moves, enters, leaves, events = changes.moves, changes.enters, changes.leaves, changes.events
        watched = set().union(*self._audience.wanted.values())
        return {
            cell: self._encode(
                tick,
                cell,
                Rows(
                    enters.get(cell, empty),
                    moves.get(cell, empty),
                    leaves.get(cell, empty),
                    events.get(cell, empty),
                ),
            )
            for cell in changes.cells() & watched
        }

    def _full(self, tick: int, cell: int) -> bytes:
        """Encode a whole cell; b"" when nothing is in it."""
        rows = self._interest.snapshot(cell)
        return self._encode(tick, cell, Rows(rows), full=True) if rows else b""

    def _encode(self, tick: int, cell: int, rows: Rows, full: bool = False) -> bytes:
        """Encode a cell; rows that cannot be (somebody changed `data` by hand) are left out and counted."""
        try:
            frame = cell_frame(self._map_name, tick, cell, rows, full)
        except (TypeError, ValueError, OverflowError):
            self._counters.failures += 1
            frame = cell_frame(self._map_name, tick, cell, Rows(*map(_sound, rows)), full)
        return pack_cell(cell, frame)

    def _recentre(
        self, tick: int, recentred: Sequence[tuple[Entity, int]]
    ) -> tuple[dict[str, list[tuple[int, int, int]]], dict[str, list[bytes]]]:
        """Give gateway -> new centres, and -> the whole cells that belong to them."""
        around = self._interest.grid.around
        centres: defaultdict[str, list[tuple[int, int, int]]] = defaultdict(list)
        cells: defaultdict[str, set[int]] = defaultdict(set)
        for player, before in recentred:
            assert isinstance(player, Player)
            gateway = player.gateway
            self._audience.put(player, gateway, player.centre)
            self._seen_by[gateway][player] = None
            centres[gateway].append((player.number, player.centre, before))
            known = around(before)
            cells[gateway].update(cell for cell in around(player.centre) if cell not in known)
        encoded: dict[int, bytes] = {}
        fulls: dict[str, list[bytes]] = {}
        for gateway, mine in cells.items():
            for cell in mine - encoded.keys():
                encoded[cell] = self._full(tick, cell)
            fulls[gateway] = [encoded[cell] for cell in mine if encoded[cell]]
        return centres, fulls

    @staticmethod
    def _with_blind(acks: Acks, recentred: Sequence[tuple[Entity, int]]) -> Acks:
        """Give the acks with those of players whose clients know nothing: they may have missed the last."""
        blind = [player for player, before in recentred if before == NOWHERE and isinstance(player, Player)]
        if not blind:
            return acks
        more = {gateway: dict(rows) for gateway, rows in acks.items()}
        for player in blind:
            if player.inputs.newest >= 0:
                more.setdefault(player.gateway, {})[player.number] = player.ack
        return {gateway: list(rows.items()) for gateway, rows in more.items()}

    def _told(
        self, tick: int, told: Sequence[tuple[Player | None, bytes]]
    ) -> tuple[bytes, dict[str, list[tuple[int, bytes]]]]:
        """Give the frame for all, and gateway -> (connection, frame)."""
        if not told:
            return b"", {}
        to_all = [event for player, event in told if player is None]
        by_player: defaultdict[Player, list[bytes]] = defaultdict(list)
        for player, event in told:
            if player is not None and player.gateway:
                by_player[player].append(event)
        to_one: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for player, events in by_player.items():
            to_one[player.gateway].append((player.number, events_frame(self._map_name, tick, events)))
        return events_frame(self._map_name, tick, to_all) if to_all else b"", to_one

    def _missed(self, gateway: str) -> None:
        """A gateway did not get a tick: its players' clients know nothing for certain."""
        if self._links.up(gateway):
            self._counters.behind += 1
        for player in self._seen_by[gateway]:
            self._interest.watch(player)


def _sound(rows: Sequence[Any]) -> list[Any]:
    """Give those rows that can be encoded."""
    sound = []
    for row in rows:
        try:
            pack(row)
        except (TypeError, ValueError, OverflowError):
            continue
        sound.append(row)
    return sound
