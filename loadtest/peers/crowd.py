"""The load client: one epoll for all subscribers and publishers, a few numbers for each.

All that a subscriber reads is checked by its topic (topic.py) without being decoded, so that the
client is not what limits a fast server.
"""

from __future__ import annotations

import os
import select
import time
from collections import Counter

from loadtest.flock.histogram import Histogram
from loadtest.flock.sockets import CONNECTING, INCOMING, READ_BYTES, dial, failure_of
from loadtest.peers.entering import Entering
from loadtest.peers.peer import HOST, Peer, payload
from loadtest.peers.plan import Plan
from loadtest.peers.topic import Topic

SOURCE = "127.1.0.1"
AT_ONCE = 1_024
"""Descriptors one look at the epoll gives."""
WINDOW = 128
"""Connections that come in at the same time."""
RETRY = 0.002
"""Seconds after which what a full socket did not take is tried again."""


def now_us() -> int:
    """Give monotonic µs."""
    return time.monotonic_ns() // 1000


class Crowd:
    """Subscribers and publishers of one server.

    Attributes:
        topics: by place; a topic's name is the layout and that.
        heard: messages, all together.
        reads: of sockets with something in it.
        last_heard: monotonic seconds when there was a message last.
        lost: why connections ended -> how many.
        times: where delivery times are counted, from when a message was due; None: nowhere.
    """

    def __init__(self, plan: Plan, peer: Peer) -> None:
        self.plan = plan
        self.topics = [Topic(peer.frame, self.write) for _ in range(plan.topics)]
        self.heard = self.reads = 0
        self.last_heard = 0.0
        self.lost: Counter[str] = Counter()
        self.times: Histogram | None = None
        self._peer = peer
        self._poll = select.epoll()
        self._topic_of: dict[int, Topic] = {}
        self._entering: dict[int, Entering] = {}
        self._publishers: dict[int, int] = {}
        self._pending: dict[int, bytes] = {}

    # coming in

    def enter(self) -> None:
        """Have all connect and subscribe, then the publishers.

        Raises:
            TimeoutError, OSError: not all could.
        """
        plan, until = self.plan, time.monotonic() + self.plan.patience
        coming = [
            Entering(
                place, self._peer.enter(plan.first + place * plan.subscribers + number, self.name(place))
            )
            for place in range(plan.topics)
            for number in range(plan.subscribers)
        ]
        self._all_in(coming, until)
        publishing = ((place, self._peer.enter_publisher(self.name(place))) for place in range(plan.topics))
        self._all_in(
            [Entering(place, steps, True) for place, steps in publishing if steps is not None], until
        )

    def name(self, place: int) -> str:
        """Give a topic's name."""
        return f"{self.plan.layout}.{place}"

    def _all_in(self, coming: list[Entering], until: float) -> None:
        waiting = iter(coming)
        while True:
            while len(self._entering) < WINDOW and (one := next(waiting, None)) is not None:
                self._dial(one)
            if not self._entering:
                return
            if time.monotonic() > until:
                late = next(iter(self._entering.values()))
                raise TimeoutError(f"{len(self._entering)} wait, one with {late.read[-200:]!r}")
            self.turn(0.1)

    def _dial(self, one: Entering) -> None:
        descriptor, is_connected = dial(SOURCE, HOST, self.plan.port)
        self._entering[descriptor] = one
        self._poll.register(descriptor, INCOMING if is_connected else CONNECTING)
        if is_connected:
            self._go_on(descriptor, one, one.connected())

    def _enter_more(self, descriptor: int, one: Entering) -> None:
        """Something has happened to one that comes in."""
        if one.is_connected:
            data = os.read(descriptor, READ_BYTES)
            if not data:
                raise ConnectionError(f"closed after {one.read[-200:]!r}")
            words = one.take(data)
        else:
            failed = failure_of(descriptor)
            if failed:
                raise OSError(failed, os.strerror(failed))
            self._poll.modify(descriptor, INCOMING)
            words = one.connected()
        self._go_on(descriptor, one, words)

    def _go_on(self, descriptor: int, one: Entering, words: bytes) -> None:
        if words:
            self.write(descriptor, words)
        if not one.is_in:
            return
        del self._entering[descriptor]
        if one.publishes or one.place not in self._publishers:
            self._publishers[one.place] = descriptor
        if not one.publishes:
            self._topic_of[descriptor] = self.topics[one.place]
            self.topics[one.place].add(descriptor, one.read)

    # going on

    def turn(self, wait: float) -> None:
        """Read what has come, for at most `wait` seconds if nothing has."""
        if self._pending:
            wait = min(wait, RETRY)
            for descriptor in list(self._pending):
                self.write(descriptor, b"")
        if wait:  # epoll itself counts in whole milliseconds
            select.select((self._poll,), (), (), wait)
        before = self.heard
        for descriptor, _events in self._poll.poll(0, AT_ONCE):
            if descriptor in self._entering:
                self._enter_more(descriptor, self._entering[descriptor])
            else:
                self._hear(descriptor)
        if self.heard > before:
            self.last_heard = time.monotonic()

    def _hear(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(descriptor, str(error.strerror))
            return
        if not data:
            self._lose(descriptor, "closed by the server")
            return
        topic = self._topic_of.get(descriptor)
        if topic is None:  # it only publishes
            return
        numbers = topic.take(descriptor, data)
        self.reads += 1
        self.heard += len(numbers)
        if self.times is not None:
            record, due, now = self.times.record, topic.due, now_us()
            for number in numbers:
                record(now - due[number - 1])

    def publish(self, place: int, due: list[int]) -> None:
        """Publish into a topic as many messages as there are times at which they were due."""
        topic, name, size = self.topics[place], self.name(place), self.plan.bytes
        words = self._peer.publish
        first = topic.sent + 1
        topic.due += due
        descriptor = self._publishers.get(place)
        if descriptor is not None:
            numbers = range(first, topic.sent + 1)
            self.write(descriptor, b"".join([words(name, payload(number, size)) for number in numbers]))

    def write(self, descriptor: int, words: bytes) -> None:
        """Write, behind what is still waiting; what the socket does not take waits."""
        words = self._pending.pop(descriptor, b"") + words
        try:
            sent = os.write(descriptor, words)
        except BlockingIOError:
            sent = 0
        except OSError:  # it is lost: reading tells why
            return
        if sent < len(words):
            self._pending[descriptor] = words[sent:]

    def _lose(self, descriptor: int, why: str) -> None:
        """A connection has ended that should not have."""
        self.lost[why] += 1
        self._pending.pop(descriptor, None)
        topic = self._topic_of.pop(descriptor, None)
        if topic is not None:
            topic.drop(descriptor)
        for place, publisher in list(self._publishers.items()):
            if publisher == descriptor:
                del self._publishers[place]
        self._poll.unregister(descriptor)
        os.close(descriptor)

    # what is known

    @property
    def expected(self) -> int:
        """Deliveries there must have been of all that was published, lost subscribers included."""
        return sum(topic.sent for topic in self.topics) * self.plan.subscribers

    def counts(self) -> dict[str, int]:
        """Give what has been counted so far."""
        topics = self.topics
        return {
            "heard": self.heard,
            "reads": self.reads,
            "expected": self.expected,
            "missing": sum(topic.missing for topic in topics),
            "repeats": sum(topic.repeats for topic in topics),
            "misordered": sum(topic.misordered for topic in topics),
        }

    def errors(self) -> dict[str, int]:
        """Give what went wrong, in words -> how often."""
        errors = self.lost.copy()
        for topic in self.topics:
            errors.update(topic.refusals)
        return dict(errors)
