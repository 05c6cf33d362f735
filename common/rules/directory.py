"""The directory of live processes: who serves under which name, and how fresh that is.

A name belongs to the newest (incarnation, term) that renewed it. What is older was
replaced or frozen and is refused; the snapshot tells it by whom. Nobody is removed:
names are configured ones, and silence only changes how a name is shown.

    starting ─▶ ready ─▶ draining ─▶ stopping      what the process says of itself
    silent for suspect_after: suspect              what the directory says of it
    silent for gone_after:    gone

Every function process holds one of these; after a restart it is full again as soon
as everybody has renewed once.

Source: docs/architecture.md, leases and fencing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

STATES = ("starting", "ready", "draining", "stopping")
"""What a process may say of itself."""


@dataclass(slots=True)
class Entry:
    """What the owner of a name said last."""

    incarnation: str
    term: int
    address: str
    state: str
    renewed_at: float


class Directory:
    """Leases by process name; time is passed in.

    Args:
        suspect_after: seconds of silence after which a process is called suspect.
        gone_after: the same for gone; not below suspect_after.
    """

    def __init__(self, suspect_after: float, gone_after: float) -> None:
        self._suspect_after = suspect_after
        self._gone_after = gone_after
        self._leases: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def renew(self, name: str, incarnation: str, term: int, address: str, state: str, now: float) -> bool:
        """Take a renewal, in seconds of any one clock.

        Args:
            incarnation: sorts by boot time.
            term: grows each time the process found itself frozen.
            state: one of STATES.

        Returns:
            False when a newer incarnation or term holds the name; nothing changes then.
        """
        held = self._leases.get(name)
        if held is not None and (incarnation, term) < (held.incarnation, held.term):
            return False
        self._leases[name] = Entry(incarnation, term, address, state, now)
        return True

    def state(self, name: str, now: float) -> str:
        """Give what a process said last, or suspect or gone when it is silent or was never heard."""
        held = self._leases.get(name)
        if held is None:
            return "gone"
        silent = now - held.renewed_at
        if silent >= self._gone_after:
            return "gone"
        return "suspect" if silent >= self._suspect_after else held.state

    def snapshot(self, now: float) -> dict[str, list[str | int]]:
        """Give all that is known: name -> [incarnation, term, state, age in ms]."""
        return {
            name: [held.incarnation, held.term, self.state(name, now), round((now - held.renewed_at) * 1000)]
            for name, held in self._leases.items()
        }

    def addresses(self) -> dict[str, str]:
        """Give where each process said it takes calls."""
        return {name: held.address for name, held in self._leases.items()}


def freshest(snapshots: Iterable[dict[str, list[str | int]]]) -> dict[str, list[str | int]]:
    """Give one snapshot made of several directories': for each name the newest owner, as heard last.

    A directory that has just started again, or was cut off, so hides nothing the others know.
    """
    merged: dict[str, list[str | int]] = {}
    for snapshot in snapshots:
        for name, told in snapshot.items():
            held = merged.get(name)
            if held is None or _freshness(told) > _freshness(held):
                merged[name] = told
    return merged


def _freshness(told: list[str | int]) -> tuple[str, int, int]:
    incarnation, term, _, age = told
    return str(incarnation), int(term), -int(age)
