"""A model of worlds and players around the rules of lines.

Players are sent somewhere, arrive or do not, leave; worlds report late, die, are born
again, drain. What is true of the worlds is compared with what the rules believe.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from common.errors import Full, Unavailable
from common.rules.copies import Report, Sizes
from common.rules.lines import Lines
from common.wire.lines import Line, line_key

AREA = "demo/arena"
NAMES = ("world-0", "world-1", "world-2")
SIZES = Sizes(fill=3, full=5, copies=4)
HOLD, SILENT = 4.0, 5.0

worlds = st.integers(0, len(NAMES) - 1)
sizes = st.integers(1, 4)


class World:
    """One world as it is: players and ever entered, by copy."""

    def __init__(self) -> None:
        self.life = 1
        self.alive = True
        self.state = "ready"
        self.copies: dict[Line, list[int]] = {}

    def report(self) -> Report:
        rows = [[line_key(AREA, line), *counts] for line, counts in self.copies.items()]
        return Report(f"{self.life:04}", 1, self.state, False, SIZES, rows)


class LinesModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.lines = Lines({"arena": NAMES}, HOLD, SILENT)
        self.worlds = [World() for _ in NAMES]
        self.reported = [float("-inf")] * len(NAMES)
        self.seen_ready = [False] * len(NAMES)
        self.way: list[tuple[float, Line]] = []
        self.made: set[Line] = set()
        for index in range(len(NAMES)):
            self.report(index)

    def _takes(self, index: int) -> bool:
        return self.seen_ready[index] and self.now - self.reported[index] < SILENT

    @rule(index=worlds)
    def report(self, index: int) -> None:
        world = self.worlds[index]
        if not world.alive:
            return
        again = self.lines.report(NAMES[index], world.report(), self.now)
        assert again is not None
        self.reported[index], self.seen_ready[index] = self.now, world.state == "ready"
        for key, _ in again:
            line = next(line for line in self.made if line_key(AREA, line) == key)
            assert line.host == index
            world.copies[line] = [0, 0]

    @rule(party=st.lists(sizes, min_size=1, max_size=6))
    def place(self, party: list[int]) -> None:
        """Some come one after the other, and most of them arrive."""
        for size in party:
            self._place(size)
        for which in range(len(party)):
            self.arrive(which)

    def _place(self, size: int) -> None:
        before = {row[0]: row[1] for row in self.lines.listing(AREA, self.now)}
        try:
            line = self.lines.place(AREA, size, self.now)
        except Unavailable:
            assert not any(map(self._takes, range(len(NAMES))))
            return
        except Full:
            able = [str(name) for name in before if self._takes(int(name[0]))]
            assert all(before[name] + size > SIZES.full for name in able)
            return
        assert self._takes(line.host)
        assert not line.made
        assert before.get(str(line), 0) + size <= SIZES.full
        assert len(self.lines) <= len(NAMES) * SIZES.copies
        fitting = [n for name, n in before.items() if self._takes(int(name[0])) and n + size <= SIZES.fill]
        if fitting:
            assert before[str(line)] == max(fitting)
        self.way += [(self.now + HOLD, line)] * size

    @rule(size=sizes)
    def make(self, size: int) -> None:
        try:
            line = self.lines.make(AREA, size, None, int(self.now), self.now)
        except (Full, Unavailable):
            return
        assert self._takes(line.host)
        assert line not in self.made
        self.made.add(line)
        self.way += [(self.now + HOLD, line)] * size

    @rule(which=st.integers(0, 50))
    def arrive(self, which: int) -> None:
        """One on the way enters, if its time is not over and the world lives."""
        if not self.way:
            return
        until, line = self.way.pop(which % len(self.way))
        world = self.worlds[line.host]
        if until <= self.now or not world.alive or (line.made and line not in world.copies):
            return
        counts = world.copies.setdefault(line, [0, 0])
        counts[0] += 1
        counts[1] += 1

    @rule(index=worlds, which=st.integers(0, 50))
    def leave(self, index: int, which: int) -> None:
        copies = self.worlds[index].copies
        if copies:
            line = sorted(copies)[which % len(copies)]
            copies[line][0] = max(0, copies[line][0] - 1)

    @rule(index=worlds)
    def close_empty(self, index: int) -> None:
        copies = self.worlds[index].copies
        for line in [line for line, counts in copies.items() if not counts[0]]:
            del copies[line]

    @rule(index=worlds)
    def die(self, index: int) -> None:
        self.worlds[index].alive = False
        self.worlds[index].copies = {}

    @rule(index=worlds)
    def come_back(self, index: int) -> None:
        world = self.worlds[index]
        if not world.alive:
            world.alive, world.state = True, "ready"
            world.life += 1

    @rule(index=worlds)
    def drain(self, index: int) -> None:
        self.worlds[index].state = "draining"

    @rule(seconds=st.sampled_from([0.5, 1.0, HOLD, SILENT + HOLD]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.lines.step(self.now)

    def teardown(self) -> None:
        """Once all is quiet the rules hold what the worlds have, no more."""
        for _ in range(2):
            for index in range(len(NAMES)):
                self.come_back(index)
                self.report(index)
            self.now += SILENT + HOLD
            for index in range(len(NAMES)):
                self.report(index)
            self.lines.step(self.now)
        truth = {
            str(line): counts[0]
            for world in self.worlds
            for line, counts in world.copies.items()
            if not line.made
        }
        assert {row[0]: row[1] for row in self.lines.listing(AREA, self.now)} == truth
        assert len(self.lines) == sum(len(world.copies) for world in self.worlds)


TestLinesModel = LinesModel.TestCase
TestLinesModel.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
