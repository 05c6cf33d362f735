"""A flock: its clients connect, log in, join, ping, publish, and come back when they are lost.

    begin ─▶ dialled ─▶ hello + join ─▶ here ─▶ pings in turn, publishes, hears
                ▲                         │ lost, storm
                └──── after a delay ◀─────┘

One epoll for all. Whatever goes on is a few numbers per client (members.py); what is heard is
judged by the ledger (ledger.py). Nothing here blocks.

Source: docs/protocol.md, section 3.
"""

from __future__ import annotations

import os
import random
import select
import time
from collections import deque
from errno import ECONNREFUSED, ECONNRESET
from typing import TYPE_CHECKING, Any

from loadtest.flock.greeting import Greeting
from loadtest.flock.heartbeats import Heartbeats
from loadtest.flock.lag import Lag
from loadtest.flock.ledger import Ledger
from loadtest.flock.members import CONNECTING, ENTERING, GONE, HERE, NOBODY, Members
from loadtest.flock.packets import ACK, HELLO, JOIN, PING_PACKET, PUBLISH, Decoder, Heard, packet
from loadtest.flock.plan import Plan
from loadtest.flock.publisher import Publisher
from loadtest.flock.returning import Returning
from loadtest.flock.sockets import CONNECTING as OPENING
from loadtest.flock.sockets import INCOMING, READ_BYTES, dial, failure_of
from loadtest.flock.timing import Looks, unix_us

if TYPE_CHECKING:
    from loadtest.flock.lines import Line, Lines

STDIN = 0
DAY = 86_400
AT_ONCE = 1_024
"""Descriptors one look at the epoll gives."""
WELCOME_SECONDS = 10.0
"""A client without a welcome for so long takes its connection for dead."""


class Flock:
    """Clients, and what they have heard.

    Attributes:
        members, ledger: what they are, what they have heard.
        here: clients logged in and joined.
        echoes: every pong, or ping a bare server sends back, is answered with the next ping (a drill).
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.members = Members(plan.count)
        self.ledger = Ledger(plan, self.members)
        self.here = self.octets = self.reads = 0
        self.echoes = False
        self._lag = Lag(self.ledger.times["lag"], time.monotonic())
        self._decoder = Decoder()
        self._heartbeats = Heartbeats(self.members, plan.ping_every)
        self._returning = Returning()
        self._publisher = Publisher(plan, self.members, self.ledger, self.write)
        self._poll = select.epoll()
        self._looks = Looks(plan.look_every)
        self._entering = self._begun = self._target = 0
        self._left: set[int] = set()
        self._resumes: dict[int, str] = {}
        self._greeting = Greeting(plan, self.members, self._resumes, int(time.time()) + DAY)
        self._welcomes: deque[tuple[float, int, int]] = deque()
        self._dead_port = 0
        self._lines: dict[int, Line] = {}
        self._make_lines: Lines | None = None
        if not plan.is_plain:
            from loadtest.flock.lines import Lines  # brings TLS and JSON: not for a million

            self._make_lines = Lines(plan)

    # orders

    def begin(self) -> None:
        """Have all clients connect, log in and join, as many at once as the plan says."""
        self._target = self.plan.count
        self._fill(time.monotonic())

    def publish(self, rate: float, bytes: int = 0) -> None:
        """Publish so often a second from a client at random into its room; 0: no more."""
        self._publisher.begin(rate, bytes, time.monotonic())

    def storm(self, share: float) -> int:
        """Close so large a share of all connections at once, to come back with their resume tokens.

        Returns:
            How many: those that have such a token, at most.
        """
        able = [slot for slot in self._resumes if self.members.state[slot] == HERE]
        count, now = min(len(able), round(share * self.here)), time.monotonic()
        for slot in random.sample(able, count):
            self._part(slot)
            self._returning.add(slot, now)
        self.ledger.counts["stormed"] += count
        return count

    def expect_death(self, port: int) -> int:
        """Losses at that gateway are not held against anybody; give how many clients are there."""
        self._dead_port = port
        return self.members.port.count(port)

    def alive(self, seconds: float) -> int:
        """Give how many clients are here and had a ping answered within the last seconds."""
        return self.members.alive(unix_us() - int(seconds * 1e6))

    def report(self) -> dict[str, Any]:
        """Give everything counted so far, and the times since the last report."""
        said = {"at": unix_us(), "cpu": self._lag.cpu_seconds(), "clients": self.plan.count}
        said |= {"here": self.here, "octets": self.octets, "reads": self.reads}
        return said | self.ledger.report()

    # time

    def turn(self, wait: float = 0.2) -> bool:
        """Read what has come, for at most `wait` seconds if nothing has, and do what is due.

        Returns:
            True when an order waits on stdin.
        """
        self._looks.wait()
        due = min(self._lag.due, self._publisher.due) - time.monotonic()
        ordered = self._read(self._poll.poll(max(0.0, min(wait, due)), AT_ONCE))
        now = time.monotonic()
        if self._lag.beat(now):
            self._beat(now)
        self._publisher.step(now, unix_us)
        self._fill(now)
        return ordered

    def listen(self) -> None:
        """Serve until an order comes on stdin."""
        self._poll.register(STDIN, select.EPOLLIN)
        while not self.turn():
            pass
        self._poll.unregister(STDIN)

    def _beat(self, now: float) -> None:
        """Ping who is due; give up on who was not answered."""
        for slot in self._heartbeats.due(now):
            self.ping(slot)
        for slot in self._heartbeats.overdue(unix_us()):
            self.ledger.counts["unanswered"] += 1
            self._lose(slot, "no answer to a ping")
        while self._welcomes and self._welcomes[0][0] <= now:
            _, slot, descriptor = self._welcomes.popleft()
            if self.members.descriptor[slot] == descriptor and self.members.state[slot] != HERE:
                self._lose(slot, "no welcome in time")

    def ping(self, slot: int) -> None:
        """Ping for one client."""
        self._heartbeats.asked(slot, unix_us())
        self.ledger.counts["pings"] += 1
        self.write(slot, PING_PACKET)

    # coming

    def _fill(self, now: float) -> None:
        """Let as many come as may be under way at once; who was here before goes first."""
        while self._entering < self.plan.window:
            slot = self._returning.next(now)
            if slot is not None:
                self._dial(slot, random.choice((self.plan.port, *self.plan.others)))
            elif self._begun < self._target:
                self._begun += 1
                self._dial(self._begun - 1, self.plan.port)
            else:
                return

    def _dial(self, slot: int, port: int) -> None:
        try:
            descriptor, is_connected = dial(self.plan.address(slot), self.plan.host, port)
        except OSError as error:
            self._failed(slot, error)
            return
        self.members.connect(slot, descriptor, port, unix_us())
        self._entering += 1
        self._poll.register(descriptor, INCOMING)
        if is_connected:
            self._greet(slot)
        elif not self._greets_early(slot, descriptor):
            self._poll.modify(descriptor, OPENING)

    def _greets_early(self, slot: int, descriptor: int) -> bool:
        """Greet without waiting to hear that the connection is made, as on one host it is; False: not yet."""
        if self.plan.raw or self._make_lines is not None:
            return False
        words = self._greeting.words(slot)
        try:
            sent = os.write(descriptor, words)
        except BlockingIOError:
            return False
        except OSError as error:
            self._part(slot)
            self._failed(slot, error)
            return True
        self._greeted(slot)
        if sent < len(words):
            self._lose(slot, "the server does not read")
        return True

    def _failed(self, slot: int, error: OSError) -> None:
        """A connection could not be made: another try, at another gateway perhaps."""
        if error.errno in (ECONNREFUSED, ECONNRESET):
            self.ledger.counts["refused"] += 1
        else:
            self.ledger.errors[f"connect: {error.strerror}"] += 1
        self._come_back(slot)

    def _connected(self, slot: int, descriptor: int) -> None:
        """A connection that was under way has been made, or failed."""
        failed = failure_of(descriptor)
        if failed:
            self._part(slot)
            self._failed(slot, OSError(failed, os.strerror(failed)))
            return
        self._poll.modify(descriptor, INCOMING)
        self._greet(slot)

    def _greet(self, slot: int) -> None:
        """Connected: say who it is, and join behind it."""
        if self.plan.raw:
            self._entered(slot)
            return
        words = self._greeting.words(slot)
        self._greeted(slot)
        if self._make_lines is None:
            self.write(slot, words)
            return
        line = self._lines[slot] = self._make_lines.line(self.members.descriptor[slot], words)
        try:
            line.begin()
        except OSError as error:
            self._lose(slot, f"begin: {error}")

    def _greeted(self, slot: int) -> None:
        """The first words are out: it is to be welcomed in time."""
        self.members.state[slot] = ENTERING
        self._welcomes.append((time.monotonic() + WELCOME_SECONDS, slot, self.members.descriptor[slot]))

    def _entered(self, slot: int) -> None:
        """A client is in: logged in and joined."""
        members = self.members
        members.state[slot] = HERE
        self.here += 1
        self._entering -= 1
        self._returning.arrived(slot)
        is_back = slot in self._left
        self._left.discard(slot)
        self.ledger.times["reconnect" if is_back else "login"].record(unix_us() - members.asked[slot])
        self.ledger.counts["reconnects" if is_back else "logins"] += 1

    # going

    def _part(self, slot: int) -> None:
        """Close a client's socket."""
        state = self.members.state[slot]
        if state == HERE:
            self.here -= 1
            self._left.add(slot)
        elif state != GONE:
            self._entering -= 1
        descriptor = self.members.part(slot)
        self._publisher.forget(slot)
        self._decoder.forget(slot)
        self._poll.unregister(descriptor)
        line = self._lines.pop(slot, None)
        if line is None:
            os.close(descriptor)
        else:
            line.close()

    def _lose(self, slot: int, why: str) -> None:
        """A connection ended that was not meant to."""
        was_in = self.members.state[slot] == HERE
        self._part(slot)
        if was_in and self._dead_port == self.members.port[slot]:
            self.ledger.counts["killed"] += 1
        else:
            self.ledger.counts["closed" if was_in else "turned_away"] += 1
            self.ledger.errors[why] += 1
        self._come_back(slot)

    def _come_back(self, slot: int) -> None:
        if not self.plan.raw and not self._returning.add(slot, time.monotonic()):
            self.ledger.counts["given_up"] += 1

    # words

    def write(self, slot: int, words: bytes) -> None:
        """Write for a client; one whose socket takes nothing any more is lost."""
        try:
            if self._lines:
                self._lines[slot].write(words)
                return
            sent = os.write(self.members.descriptor[slot], words)
        except OSError as error:
            self._lose(slot, f"write: {error.strerror or error}")
            return
        if sent < len(words):
            self._lose(slot, "the server does not read")

    def _read(self, ready: list[tuple[int, int]]) -> bool:
        """Read from all that are ready; tell whether an order waits on stdin.

        What many clients hear goes straight to the ledger: most of a flock's time is spent here.
        """
        slot_of, state, lines = self.members.slot_of, self.members.state, self._lines
        take, message, read, clock = self._decoder.take, self.ledger.message, os.read, time.time_ns
        pong = self._follow_pong if self.echoes else self.ledger.pong
        ordered = False
        for descriptor, _events in ready:
            slot = slot_of[descriptor]
            if slot == NOBODY:
                ordered |= descriptor == STDIN
                continue
            if state[slot] == CONNECTING:
                self._connected(slot, descriptor)
                continue
            try:
                data = lines[slot].read() if lines else read(descriptor, READ_BYTES)
            except OSError as error:
                self._unread(slot, error)
                continue
            if not data:
                self._lose(slot, "closed by the server")
                continue
            at = clock() // 1000
            self.octets += len(data)
            self.reads += 1
            for heard in take(slot, data):
                op = heard.op
                if op == "message":
                    message(slot, heard, at)
                elif op == "pong":
                    pong(slot, at)
                elif slot_of[descriptor] == slot:
                    self._follow(slot, heard, at)
        return ordered

    def _unread(self, slot: int, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self._lose(slot, f"read: {error.strerror or error}")

    def _follow_pong(self, slot: int, _at: int) -> None:
        if self.members.state[slot] == HERE:
            self.write(slot, PING_PACKET)

    def _follow(self, slot: int, heard: Heard, at: int) -> None:
        """Do what a packet asks for."""
        op, body = heard.op, heard.body
        if op == "ok":
            self._answered(slot, heard.id, body, at)
        elif op == "inbox":
            self._take_mail(slot, heard, at)
        elif op == "ping" and self.echoes:
            self.write(slot, PING_PACKET)
        elif op == "gap":
            self.ledger.gap(slot, body)
        elif op in ("error", "kick"):
            self._refused(slot, op, heard.id, body)

    def _take_mail(self, slot: int, heard: Heard, at: int) -> None:
        self.ledger.inbox(slot, heard, at)
        position: dict[str, Any] = {name: heard.body[name] for name in ("seq", "bseq") if name in heard.body}
        if position:
            self.ledger.counts["acks"] += 1
            self.write(slot, packet("ack", ACK, position))

    def _answered(self, slot: int, number: int, body: dict[str, Any], at: int) -> None:
        if number == HELLO:
            if self.plan.resumes and slot % self.plan.resumes == 0:
                self._resumes[slot] = body["resume"]
            if not self.plan.joins:
                self._entered(slot)
        elif number == JOIN:
            self.ledger.joined(slot, body)
            self._entered(slot)
        elif number == PUBLISH:
            self.ledger.published(slot, body["offset"])
            self._publisher.answered(slot, at)

    def _refused(self, slot: int, op: str, number: int, body: dict[str, Any]) -> None:
        """An error, or the end: who was not let in comes again, with its token."""
        why = f"{op} {body['code']}: {body.get('message', body.get('reason'))}"
        if op == "kick" or number in (HELLO, JOIN):
            self._resumes.pop(slot, None)
            self._lose(slot, why)
        else:
            self._publisher.forget(slot)
            self.ledger.errors[why] += 1
