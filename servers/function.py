"""function: the global registry. Who is alive, and what all may know of a user.

    every process ── renew, every 2 s ──▶ directory of leases ── the whole of it ──▶ back
    gateway ── profile_get, profile_set ──▶ checked here ──▶ stored by a dbserver
    world   ── line_report ──▶ how full the copies of maps are ── line_place, line_make ──▶ who goes where

Each function process holds the whole directory; it is full again one renewal after
a restart. Nothing in flight waits for this group.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from common.errors import BadField
from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.lines.registry import LINES, Registry
from common.net.process import Process, Service, main
from common.rules.directory import STATES, Directory
from common.wire.names import NAME_LIMIT

TABLE = Handlers("function rpc")


class Function(Service):
    """The directory, the lines of all maps, and the door to names and profiles."""

    RPC = TABLE

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        lease, places = process.settings.lease, process.places
        self.directory = Directory(lease.suspect_after, lease.gone_after)
        self.dbservers = Dbservers(process.callers, places, process.index)
        self.registry = Registry(process.callers, places, process.settings)
        self.known = frozenset(places.processes)
        process.metrics.counters.declare(
            {"renewals": "leases renewed", "refused": "renewals of older owners"}
        )
        process.metrics.gauge("processes", "leases by state", self.count_states, label="state")
        process.metrics.gauge("lines", "lines and instances of maps", lambda: len(self.registry.lines))

    def tables(self) -> tuple[tuple[Handlers, Any], ...]:
        return ((TABLE, self), (LINES, self.registry))

    def start(self) -> None:
        self.process.tasks.every("lines", 1.0, self.registry.step)

    def count_states(self) -> dict[str, float]:
        """Give how many processes are in each state."""
        return dict(Counter(str(entry[2]) for entry in self.directory.snapshot(time.monotonic()).values()))


@TABLE.on("renew")
def renew(
    service: Function, name: str, incarnation: str, term: int, address: str, state: str
) -> dict[str, Any]:
    """Renew a lease; an older incarnation or term changes nothing and finds the newer one in the answer.

    Returns:
        accepted: bool; directory: name -> [incarnation, term, state, age in ms].

    Raises:
        BadField: no such process is configured, or no such state.
    """
    if name not in service.known:
        raise BadField(f"no process {name!r} is configured", field="name")
    if state not in STATES:
        raise BadField(f"no state {state!r}", field="state")
    now = time.monotonic()
    counters = service.process.metrics.counters
    accepted = service.directory.renew(name, incarnation, term, address, state, now)
    if accepted:
        counters.renewals += 1
    else:
        counters.refused += 1
        service.process.log.warning(
            "renewal of an older owner", peer=name, incarnation=incarnation, term=term
        )
    return {"accepted": accepted, "directory": service.directory.snapshot(now)}


@TABLE.on("directory")
def directory(service: Function) -> dict[str, Any]:
    """Give the directory as `renew` does, and name -> address."""
    return {
        "directory": service.directory.snapshot(time.monotonic()),
        "addresses": service.directory.addresses(),
    }


@TABLE.on("profile_get")
def profile_get(service: Function, users: list[str]) -> list[list[Any]]:
    """Give [[user, name or None, profile], …] for users of the form product/uid."""
    stored: list[list[Any]] = service.dbservers.call("profile_get", users)
    return stored


@TABLE.on("profile_set")
def profile_set(service: Function, user: str, name: str | None, fields: dict[str, Any]) -> list[Any]:
    """Set a user's unique name (None: leave it) and fields of the profile.

    Returns:
        [name or None, the whole profile], as stored now.

    Raises:
        BadField: a name or a field's key has not 1 to 64 bytes, the name is not
            printable, or the key has a "/"; field is "name" or "set".
        Conflict: another user of the product has the name; nothing was stored.
    """
    if name is not None and not (_is_short(name) and name.isprintable()):
        raise BadField(f"name must be printable and have 1 to {NAME_LIMIT} bytes", field="name")
    if not all(_is_short(key) and "/" not in key for key in fields):
        raise BadField(f"keys must have 1 to {NAME_LIMIT} bytes and no /", field="set")
    stored: list[Any] = service.dbservers.call("profile_set", user, name, fields)
    return stored


def _is_short(text: Any) -> bool:
    return isinstance(text, str) and 1 <= len(text.encode()) <= NAME_LIMIT


if __name__ == "__main__":
    main("function", Function)
