"""Whether each player is in one map, with what it was told that it has. Pure: it is told what was.

A player's client numbers its inputs from 1; each takes up one item, of its own, named by
user and number. A *step* is what the client was told is stored: the answer to `enter`, and
`entered` after a move, with the items that came along.

What must hold at the end, each with the fault that names its breach:

    nowhere        every player is in a map
    in two maps    … and in one only
    elsewhere      which is the one that storage says has it
    lost           it has all items of every step, and of what storage has
    doubled        no item is there twice, with nobody
    invented       no item is there that its player did not send an input for
    out of order   items are in the order of their inputs: none was applied late, or again
    miscounted     the number of the last input is that of the last item

and of the run: every player moved so often, and everything was killed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from loadtest import verdict as found

KINDS = ("world", "session", "dbserver")
"""What is killed."""
FAULTS = (
    "nowhere",
    "in two maps",
    "elsewhere",
    "lost",
    "doubled",
    "invented",
    "out of order",
    "miscounted",
)

Item = tuple[str, int]
"""Who took it up first, and the number of that input."""


class State(NamedTuple):
    """A player somewhere.

    Args:
        place: product/map/line.
        input: number of the last input applied.
        items: in the order in which they were taken up.
    """

    place: str
    input: int
    items: tuple[Item, ...]


@dataclass
class Verdict(found.Verdict):
    """What was found; faults are those of FAULTS.

    Attributes:
        moves: moves the players were told of.
    """

    players: int = 0
    moves: int = 0


class Judge:
    """Compares what players were told with what is there at the end.

    Args:
        worlds: world process -> its players: user -> state.
        stored: user -> what storage has: the name of the process that owns it, and its state.
    """

    def __init__(
        self, worlds: Mapping[str, Mapping[str, State]], stored: Mapping[str, tuple[str, State]]
    ) -> None:
        self.verdict = Verdict()
        self._worlds = worlds
        self._stored = stored
        self._holders: dict[Item, str] = {}

    def player(self, user: str, steps: Iterable[State], sent: int, least_moves: int) -> None:
        """Judge one player.

        Args:
            steps: what its client was told, in order.
            sent: number of its last input.
            least_moves: how often it has to have come to another map.
        """
        verdict, told = self.verdict, list(steps)
        verdict.players += 1
        moves = sum(before.place != after.place for before, after in pairwise(told))
        verdict.moves += moves
        if moves < least_moves:
            verdict.failures.append(f"{user} moved {moves} times, not {least_moves}")
        for before, after in pairwise(told):
            self._misses(user, before, after, f"at {after.place} it was told less than before")
        names = [name for name, players in self._worlds.items() if user in players]
        if not names:
            verdict.blame("nowhere", f"{user}, last told of {told[-1].place if told else 'nothing'}")
        if len(names) > 1:
            verdict.blame("in two maps", f"{user} is in {' and '.join(sorted(names))}")
        owner, record = self._stored.get(user, ("", State("", 0, ())))
        for name in names:
            state = self._worlds[name][user]
            self._look(user, name, state, sent)
            if (owner, record.place) != (name, state.place):
                verdict.blame(
                    "elsewhere", f"{user} is in {name} {state.place}, stored for {owner} {record.place}"
                )
            self._misses(user, record, state, f"{name} has less than is stored")
        if told:
            self._misses(user, told[-1], record, "less is stored than it was told")
        self._look(user, "storage", record, sent)

    def run(self, kills: Mapping[str, int], least_kills: int) -> Verdict:
        """Judge the run as a whole; `kills`: kind -> how often."""
        for kind in KINDS:
            if kills.get(kind, 0) < least_kills:
                self.verdict.failures.append(
                    f"{kind} was killed {kills.get(kind, 0)} times, not {least_kills}"
                )
        return self.verdict

    def _misses(self, user: str, before: State, after: State, words: str) -> None:
        """Blame for each item that was there before and is not any more."""
        for item in sorted(set(before.items) - set(after.items)):
            self.verdict.blame("lost", f"{user}, item {item[1]}: {words}")

    def _look(self, user: str, where: str, state: State, sent: int) -> None:
        """Judge the items of one state by themselves."""
        verdict = self.verdict
        for item, count in Counter(state.items).items():
            holder = self._holders.setdefault(item, user)
            if count > 1 or holder != user:
                verdict.blame("doubled", f"{user} in {where}, item {item}, {count} times; {holder} has it")
            if item[0] != user or not 1 <= item[1] <= sent:
                verdict.blame("invented", f"{user} in {where}, item {item} after {sent} inputs")
        numbers = [number for _, number in state.items]
        if any(before > after for before, after in pairwise(numbers)):
            verdict.blame("out of order", f"{user} in {where}: {numbers[-10:]}")
        if numbers and state.input != numbers[-1]:
            verdict.blame("miscounted", f"{user} in {where}: input {state.input}, last item {numbers[-1]}")
