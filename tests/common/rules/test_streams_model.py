"""Two processes, a network that loses and a world in which both die and freeze, by chance."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.rules.streams import Stream, Verdict
from common.wire.batch import Header

EXCHANGES = 6
"""Batches each way after which two healthy processes must have an open session."""

Item = tuple[str, int, int, int]
"""Who made it: incarnation, term, how many sessions it had begun then, running number in that one."""


@dataclass
class Side:
    """One process, with what common/net/links.py does around a stream, greatly simplified."""

    name: str
    peer: str
    life: int = 0
    term: int = 1
    stream: Stream = field(init=False)
    told: int = 0
    made: int = 0
    heard: list[str] = field(default_factory=list)
    handled: list[Item] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    @property
    def incarnation(self) -> str:
        return f"{self.life:04}"

    @property
    def up(self) -> bool:
        return self.stream.open and self.told == self.stream.begun

    def restart(self) -> None:
        self.life += 1
        self.term = 1
        self.stream = Stream(self.name, self.peer)
        self.told = 0
        self.heard = []
        self.handled = []

    def freeze(self) -> None:
        self.term += 1
        self.silence()

    def silence(self) -> None:
        self.stream.close()
        self.tell()

    def tell(self) -> None:
        if self.told and not self.up:
            self.told = 0
            self.heard.append("down")
        if self.stream.open and not self.told:
            self.told = self.stream.begun
            self.heard.append("up")
            self.handled = []
            self.made = 0

    def batch(self) -> tuple[Header, list[Item]]:
        items = []
        if self.up:
            items = [(self.incarnation, self.term, self.stream.begun, self.made)]
            self.made += 1
        return self.stream.next_header(self.name, self.incarnation, self.term), items

    def receive(self, header: Header, items: list[Item]) -> Verdict:
        verdict = self.stream.receive(header, self.incarnation, self.term)
        self.tell()
        if verdict in (Verdict.NEW, Verdict.NEXT):
            self.handled.extend(items)
        return verdict


class Pair(RuleBasedStateMachine):
    """A always initiates. `wires` hold what each has sent and the other has not received."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = {"a": Side("a", "b"), "b": Side("b", "a")}
        self.wires: dict[str, deque[tuple[Header, list[Item]]]] = {"a": deque(), "b": deque()}

    def other(self, name: str) -> Side:
        return self.sides["b" if name == "a" else "a"]

    names = st.sampled_from("ab")

    @rule(name=names)
    def send(self, name: str) -> None:
        self.wires[name].append(self.sides[name].batch())

    @rule(name=names)
    def arrive(self, name: str) -> None:
        if self.wires[name]:
            self.deliver(name, self.wires[name].popleft())

    @rule(name=names, place=st.integers(0, 9))
    def arrive_out_of_order(self, name: str, place: int) -> None:
        if self.wires[name]:
            wire = self.wires[name]
            wire.rotate(-(place % len(wire)))
            self.deliver(name, wire.popleft())
            wire.rotate(place % (len(wire) + 1))

    @rule(batches=st.integers(1, 4))
    def talk(self, batches: int) -> None:
        """New batches get through and overtake what is on the way, as over a new connection."""
        for _ in range(batches):
            for name in "ab":
                self.deliver(name, self.sides[name].batch())

    @rule(name=names)
    def restart_with_batches_on_the_way(self, name: str) -> None:
        self.talk(2)
        self.send(name)
        self.sides[name].restart()
        self.talk(2)
        self.arrive(name)

    @rule(name=names)
    def freeze_with_batches_on_the_way(self, name: str) -> None:
        self.talk(2)
        self.send(name)
        self.sides[name].freeze()
        self.talk(2)
        self.arrive(name)

    @rule(name=names)
    def lose(self, name: str) -> None:
        if self.wires[name]:
            self.wires[name].popleft()

    @rule(name=names)
    def repeat(self, name: str) -> None:
        if self.wires[name]:
            self.wires[name].append(self.wires[name][0])

    @rule(name=names)
    def restart(self, name: str) -> None:
        self.sides[name].restart()

    @rule(name=names)
    def freeze(self, name: str) -> None:
        self.sides[name].freeze()

    @rule(name=names)
    def find_the_other_silent(self, name: str) -> None:
        self.sides[name].silence()

    def deliver(self, name: str, batch: tuple[Header, list[Item]]) -> Verdict:
        header, items = batch
        receiver = self.other(name)
        verdict = receiver.receive(header, items)
        if verdict in (Verdict.NEW, Verdict.NEXT):
            sender = (header.sender_incarnation, header.sender_term)
            assert sender == (receiver.stream.incarnation, receiver.stream.term)
            addressed = (header.receiver_incarnation, header.receiver_term)
            assert addressed == (receiver.incarnation, receiver.term)
            assert header.session == receiver.stream.session and receiver.up
        return verdict

    @invariant()
    def within_a_session_items_come_in_order_without_a_hole(self) -> None:
        for side in self.sides.values():
            assert [number for *_, number in side.handled] == list(range(len(side.handled)))
            assert len({item[:3] for item in side.handled}) <= 1

    @invariant()
    def a_service_is_told_down_before_it_is_told_up_again(self) -> None:
        for side in self.sides.values():
            assert side.heard == [("up", "down")[i % 2] for i in range(len(side.heard))]

    @precondition(lambda self: any(self.wires.values()))
    @rule()
    def calm_after_all_that_was_on_the_way(self) -> None:
        while any(self.wires.values()):
            for name in "ab":
                if self.wires[name]:
                    self.deliver(name, self.wires[name].popleft())
        self.calm()

    @rule()
    def calm(self) -> None:
        """Faults stop: after a bounded number of batches each way both are in the same session."""
        for wire in self.wires.values():
            wire.clear()
        for _ in range(EXCHANGES):
            for name in "ab":
                self.deliver(name, self.sides[name].batch())
        a, b = self.sides["a"], self.sides["b"]
        assert a.up and b.up and a.stream.session == b.stream.session
        begun = (a.stream.begun, b.stream.begun)
        verdicts = {self.deliver(name, self.sides[name].batch()) for name in "abab"}
        assert verdicts == {Verdict.NEXT}
        assert (a.stream.begun, b.stream.begun) == begun


Pair.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestPair = Pair.TestCase
