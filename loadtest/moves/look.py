"""A look into a running cluster: who is in which world, and what storage has of whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack

from common.net.dbclient import Dbservers
from common.net.rpc import Callers, Context
from common.places import Places
from common.rules.owner import parse_owner
from common.rules.route import Record
from common.settings import Settings
from common.wire.names import product_of, user_key
from loadtest.moves.depot import Depot
from loadtest.moves.judge import Item, State

BATCH = 64
SECONDS = 5.0


class Look:
    """Asks the processes themselves."""

    def __init__(self, callers: Callers, places: Places) -> None:
        self._callers = callers
        self._places = places
        self._dbservers = Dbservers(callers, places)

    def world(self, name: str) -> dict[str, State]:
        """Give user -> state of all players of a world process.

        Raises:
            RequestError: it does not answer.
        """
        rows: list[Any] = self._callers.call(name, "players", timeout=SECONDS)
        return {user: _state(place, number, blob) for user, place, number, blob in rows}

    def records(self, users: Sequence[str]) -> dict[str, Record]:
        """Give what is stored of users."""
        found: dict[str, Record] = {}
        for start in range(0, len(users), BATCH):
            part = list(users[start : start + BATCH])
            rows = self._dbservers.call("player_load", part, timeout=SECONDS)
            found |= {user: Record(*row) for user, row in zip(part, rows, strict=True)}
        return found

    def stored(self, users: Sequence[str]) -> dict[str, tuple[str, State]]:
        """Give user -> (process that owns it, state); "" for nobody."""
        return {
            user: (
                parse_owner(record.owner).name if record.owner else "",
                _state(record.place, record.input, record.blob),
            )
            for user, record in self.records(users).items()
        }


@contextmanager
def look(settings: Settings, places: Places) -> Iterator[Look]:
    """Look into the cluster of these settings."""
    context = Context()
    callers = Callers(context, places, "moves", settings.rpc)
    try:
        yield Look(callers, places)
    finally:
        callers.close()
        context.destroy(linger=0)


def _state(place: str, number: int, blob: bytes | None) -> State:
    kept = msgpack.unpackb(blob) if blob else {}
    return State(place, number, items(place, kept.get(Depot.keeps, ())))


def items(key: str, rows: Iterable[Sequence[Any]]) -> tuple[Item, ...]:
    """Give items as the judge names them; `key` is any of their product."""
    return tuple((user_key(product_of(key), uid), n) for uid, n in rows)
