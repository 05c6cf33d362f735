"""A hashed timing wheel: many deadlines, one timer.

Time is cut into ticks, and a ring of lists holds what is due at each of the next
`slots` ticks. Adding is one list append and nothing but the item is stored; there is
no cancel. An owner whose deadline moves all the time (a heartbeat) does not touch the
wheel but re-arms lazily:

    connection.deadline = now + 300             # on every packet: one store
    for connection in wheel.advance(now):       # on each tick
        if connection.closed:
            continue
        if connection.deadline > now:           # it was heard meanwhile
            wheel.add(connection.deadline, connection)
        else:
            kick_idle(connection)

So each owner has one entry at a time and is looked at once per time-out, however
busy it is.

Source: G. Varghese, T. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987.
"""

from __future__ import annotations

from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wheel(Generic[Item]):
    """Items due at moments of one clock.

    An item never comes early, and at most one tick after its deadline (if `advance`
    is called on every tick). A deadline more than one turn away goes round.

    Args:
        tick_seconds: how exact it is.
        slots: ticks in one turn.
        start: seconds the clock shows now.
    """

    def __init__(self, tick_seconds: float, slots: int, start: float = 0.0) -> None:
        if tick_seconds <= 0 or slots < 1:
            raise ValueError(f"a wheel of {slots} slots of {tick_seconds} s cannot turn")
        self._tick_seconds = tick_seconds
        self._near: list[list[Item]] = [[] for _ in range(slots)]
        self._far: dict[int, list[tuple[float, Item]]] = {}
        self._tick = int(start // tick_seconds)

    def __len__(self) -> int:
        """Items in the wheel; walks all slots."""
        return sum(map(len, self._near)) + sum(map(len, self._far.values()))

    def add(self, deadline: float, item: Item) -> None:
        """Have `item` given by the first tick after `deadline`; one already past comes with the next tick."""
        tick = self._tick_after(deadline)
        slots = len(self._near)
        if tick - self._tick > slots:
            self._far.setdefault(self._tick % slots, []).append((deadline, item))
        else:
            self._near[max(tick, self._tick + 1) % slots].append(item)

    def advance(self, now: float) -> list[Item]:
        """Take out and give what is due at `now`, by ticks; in no order after a stall of a whole turn.

        Costs one step per tick passed, at most one turn, and never runs the items:
        adding again while going through the list is safe.
        """
        last = int(now // self._tick_seconds)
        slots = len(self._near)
        due: list[Item] = []
        self._tick = max(self._tick, last - slots)
        while self._tick < last:
            self._tick += 1
            slot = self._tick % slots
            if self._near[slot]:
                due += self._near[slot]
                self._near[slot] = []
            for deadline, item in self._far.pop(slot, ()):
                if self._tick_after(deadline) <= last:
                    due.append(item)
                else:
                    self.add(deadline, item)
        return due

    def _tick_after(self, deadline: float) -> int:
        return int(deadline // self._tick_seconds) + 1
