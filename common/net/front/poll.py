"""A connection without a socket of its own: its client asks for packets, or reads a stream of events.

    to the client     packets, numbered from 1, kept until a `cursor` confirms them
    from the client   packets, numbered from 1, each taken once and in order

Whatever request brings them. While packets are being taken there is a greenlet, else
only this object.

Source: docs/protocol.md, section 7.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from common.errors import BadField, Busy, Unavailable
from common.net.front.connection import Connection, Talk
from common.net.front.outbox import Backlog, Source
from common.wire.framing import HEADER_BYTES, SERVER_LIMIT, cut
from common.wire.jsoncodec import packet_of, translate

if TYPE_CHECKING:
    from common.net.front.front import Front

SILENT_SECONDS = 60.0
"""A session nobody asks about for so long is over."""
AHEAD_SECONDS = 5.0
"""How long packets wait for those before them."""
PAGE_BYTES = 65_536
"""Packets given at once, or one that is larger: a slow line must take them before writing is given up."""
INPUT_BYTES = 262_144
"""Packets of a client that may wait to be taken; above it: busy."""


class Translation:
    """Packets in JSON, made once for all sessions that get the same frames."""

    def __init__(self) -> None:
        self._frames = b""
        self._packets: list[bytes] = []

    def packets(self, frames: bytes) -> list[bytes]:
        """Give the packets of some whole TCP frames, as JSON."""
        if frames is not self._frames:
            packets: list[bytes] = []
            part, rest = cut(frames, SERVER_LIMIT)
            while part:
                packets += map(translate, part)
                part, rest = cut(rest, SERVER_LIMIT)
            self._frames, self._packets = frames, packets
        return self._packets

    @staticmethod
    def packet(frame: bytes) -> list[bytes]:
        """The same for one frame, or b"", that nobody else gets; what was made last stays."""
        return [translate(frame[HEADER_BYTES:])] if frame else []


class Unconfirmed(Backlog):
    """Packets the client has not said it has.

    Attributes:
        confirmed: how many it has.
    """

    __slots__ = ("confirmed",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.confirmed = 0

    @property
    def newest(self) -> int:
        """Give the number of the newest packet."""
        return self.confirmed + len(self._frames)

    def confirm(self, cursor: int) -> None:
        """The client has so many; an older cursor than before changes nothing.

        Raises:
            BadField: there never were so many.
        """
        if cursor > self.newest:
            raise BadField("no packet has this number", field="cursor")
        freed = 0
        while self.confirmed < cursor:
            freed += len(self._frames.popleft())
            self.confirmed += 1
        if freed:
            self.eased(freed)

    def after(self, cursor: int) -> list[bytes]:
        """Give the next packets behind `cursor`, as far as they are not confirmed: a page of them."""
        page: list[bytes] = []
        size = 0
        for packet in islice(self._frames, max(0, cursor - self.confirmed), None):
            size += len(packet)
            if page and size > PAGE_BYTES:
                break
            page.append(packet)
        return page

    def clear(self) -> None:
        """Forget them all; nobody will ask."""
        self._frames.clear()
        self.size = 0

    def take_first(self) -> bytes:
        """Give the first packet, which counts as never sent."""
        first = self._frames.popleft()
        self.size -= len(first)
        return first

    def offer(self, packets: list[bytes], room: Source, offset: int) -> None:
        """Queue a room's messages up to `offset` (0: an event), or skip them when there is no space."""
        size = sum(map(len, packets))
        if self.admits(size, room, offset):
            self._frames.extend(packets)
            self.size += size


class PollConnection(Connection):
    """A client that comes again and again.

    Attributes:
        secret: what its requests must know.
        taken: number of the newest packet taken from the client.
        changed: set when there is something new for whoever waits: packets, the end, a successor.
        reader: the request that waits for packets, or streams them; a newer one takes its place.
        streaming: that one is a stream of events.
        ended_at: when it ended; 0 while it has not.
    """

    __slots__ = (
        "_door",
        "_input",
        "_input_bytes",
        "_talk",
        "_turn",
        "changed",
        "ended_at",
        "reader",
        "secret",
        "streaming",
        "taken",
    )

    BY_REQUESTS = True
    outbox: Unconfirmed

    def __init__(self, front: Front, number: int, address: str, door: str) -> None:
        super().__init__(front, number, address)
        self._door = door
        self.secret = secrets.token_hex(16)
        self.outbox = Unconfirmed(self)
        self.taken = 0
        self.changed = Event()
        self.reader: object = None
        self.streaming = False
        self.ended_at = 0.0
        self._talk: Talk | None = None
        self._input: deque[tuple[int, Any]] = deque()
        self._input_bytes = 0
        self._turn = Event()

    @property
    def talk(self) -> Talk | None:
        """What it has while it talks."""
        return self._talk

    @property
    def door(self) -> str:
        """Name what its first request came in by."""
        return self._door

    # to the client

    def send(self, frame: bytes) -> None:
        """Queue a packet that must not be skipped."""
        if self.closed:
            return
        for packet in self.front.translation.packets(frame):
            self.outbox.add(packet)
        self.changed.set()

    def push(self, blob: bytes, source: Source, offset: int, own: bytes = b"") -> None:
        """Queue a room's messages, the last of them `offset`; skipped when too much waits."""
        if not self.closed:
            translation = self.front.translation
            self.outbox.offer(translation.packets(blob) + translation.packet(own), source, offset)
            self.changed.set()

    # from the client

    def heard(self) -> None:
        """A request came: it lives."""
        self.heard_at = self.front.now

    def is_silent(self) -> bool:
        """Tell whether nobody has asked for too long, nor reads a stream."""
        return self.reader is None and self.front.now - self.heard_at > SILENT_SECONDS

    def accept(self, number: int, packets: list[tuple[int, Any]]) -> None:
        """Take packets, each once and in order; waits for those before them. None when it has ended.

        Args:
            number: of the first of them.
            packets: (bytes, decoded JSON) each.

        Raises:
            Unavailable: those before them did not come in time.
            Busy: too much waits to be taken.
        """
        until = time.monotonic() + AHEAD_SECONDS
        while number > self.taken + 1 and not self.closed:
            self._turn.clear()
            if not self._turn.wait(max(0.0, until - time.monotonic())):
                raise Unavailable("packets before these are missing", field="n", taken=self.taken)
        if self.closed:
            return
        fresh = packets[self.taken + 1 - number :]
        size = sum(count for count, _ in fresh)
        if self._input_bytes and self._input_bytes + size > INPUT_BYTES:
            raise Busy("too many packets wait", limit=INPUT_BYTES)
        self.taken += len(fresh)
        self._input.extend(fresh)
        self._input_bytes += size
        self._turn.set()
        if fresh and self._talk is None:
            self._talk = Talk(self.front)
            self.front.clock.talking(self)
        if len(self._input) == len(fresh) > 0:
            self.front.process.tasks.spawn(f"poll {self.number}", self.guard, self._take_all)

    def _take_all(self) -> None:
        """The greenlet: carry out what has come."""
        while self._input and not self.closed:
            size, value = self._input[0]
            talk = self._talk
            assert talk is not None
            self.take_bytes(talk, size)
            self.front.handle(self, talk, packet_of(value))
            self.let_drain()
            if self._input:
                self._input.popleft()
                self._input_bytes -= size

    def park(self) -> bool:
        """Forget its limits when new ones would do as well."""
        talk = self._talk
        if talk is None:
            return True
        if self._input or self.in_flight or not talk.is_idle(self.front.now):
            return False
        self._talk = None
        return True

    # ending

    def finish(self, words: bytes, why: str) -> None:
        """End it with last words, which the client may still fetch."""
        if words:
            self.send(words)
        self.close(why)

    def close(self, why: str) -> None:
        """End it; a second call changes nothing."""
        if self.closed:
            return
        self.closed = True
        self.ended_at = self.front.now
        self._input.clear()
        self.front.gone(self, why)
        self.changed.set()
        self._turn.set()

    def forget(self) -> None:
        """Nothing is fetched any more. It and its outbox hold each other: only this frees them soon."""
        self.outbox.clear()
        del self.outbox.connection
