"""A client as docs/protocol.md has it: what it knows of a map from the `state` packets it was given."""

from __future__ import annotations

from typing import Any


class Beholder:
    """What one client knows.

    Attributes:
        known: id -> [kind, x, y, data], with the cell the last `enter` came from.
        enters, leaves: how many came into its sight and went out of it.
    """

    def __init__(self) -> None:
        self.known: dict[int, tuple[int, list[Any]]] = {}
        self.enters = 0
        self.leaves = 0

    def take(self, state: dict[str, Any]) -> None:
        """Apply the body of one `state` of a cell."""
        cell = state["cell"]
        if state.get("full"):
            for one in [one for one, (where, _) in self.known.items() if where == cell]:
                del self.known[one]
                self.leaves += 1
        for one, kind, x, y, data in state.get("enter", ()):
            self.enters += one not in self.known
            self.known[one] = (cell, [kind, x, y, data])
        for one, x, y in state.get("move", ()):
            self.known[one][1][1:3] = [x, y]
        for one in state.get("leave", ()):
            if one in self.known and self.known[one][0] == cell:
                del self.known[one]
                self.leaves += 1

    def seen(self) -> dict[int, list[Any]]:
        """Give id -> [kind, x, y, data]."""
        return {one: row for one, (_, row) in self.known.items()}
