"""What waits for a client that reads slower than we write; of a socket, only while something waits.

Bounded in bytes. Room messages above the bound are skipped, and when the client has
read half of what waits it gets a `gap` for each such room, with the last offset it did not get;
of a map it is then told all it sees.
Answers are never skipped: reading from that client pauses instead.

Source: docs/protocol.md, sections 5 and 6.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from gevent import get_hub

if TYPE_CHECKING:
    from common.net.front.connection import Connection
    from common.net.front.stream import StreamConnection

WRITABLE = 2
WRITE_BYTES = 65_536
CAUGHT_UP = 0.5
"""Share of its bound below which an outbox that was full takes room messages again."""


class Source(Protocol):
    """What comes in a stream and may be skipped: a room, or a client's view of a map.

    Attributes:
        offset: of the newest that came.
    """

    offset: int

    def caught_up(self, connection: Connection, offset: int) -> None:
        """A client that was too slow reads again; it did not get what came up to `offset`."""


class Backlog:
    """A queue bounded in bytes, and which rooms were skipped because of it.

    Attributes:
        size: bytes that wait.
        skipped: room -> the last offset that was not queued.
        stuck_since: since when it is full; 0 while it is not.
    """

    __slots__ = ("_frames", "connection", "size", "skipped", "stuck_since")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._frames: deque[bytes] = deque()
        self.size = 0
        self.skipped: dict[Source, int] = {}
        self.stuck_since = 0.0

    def add(self, frame: bytes) -> None:
        """Queue what must not be skipped."""
        self._frames.append(frame)
        self.size += len(frame)
        if self.size > self.connection.front.outbox_bytes:
            self._stuck()

    def admits(self, size: int, room: Source, offset: int) -> bool:
        """Tell whether a room's messages up to `offset` (0: an event) may be queued; notes it when not.

        Once a room was skipped it stays so until its `gap` is sent: order is kept.
        """
        if room not in self.skipped and self.size + size <= self.connection.front.outbox_bytes:
            return True
        if offset or room not in self.skipped:
            self.skipped[room] = offset or room.offset
        self.connection.front.counters.skipped += 1
        self._stuck()
        return False

    def _stuck(self) -> None:
        if not self.stuck_since:
            self.stuck_since = self.connection.front.now
            self.connection.front.stuck.add(self.connection)

    def eased(self, size: int) -> None:
        """So many bytes wait no more: once it reads again the client is told what it did not get."""
        self.size -= size
        connection = self.connection
        if not self.stuck_since or self.size > connection.front.outbox_bytes * CAUGHT_UP:
            return
        self.stuck_since = 0.0
        connection.front.stuck.discard(connection)
        skipped, self.skipped = self.skipped, {}
        for source, offset in skipped.items():
            source.caught_up(connection, offset)


class Outbox(Backlog):
    """The queue in front of one socket, with its writer.

    Args:
        connection: whose.
        rest: what did not go out at once; always taken, it may be half a packet.
    """

    __slots__ = ("_io",)

    connection: StreamConnection

    def __init__(self, connection: StreamConnection, rest: bytes) -> None:
        super().__init__(connection)
        self._frames.append(rest)
        self.size = len(rest)
        self._io: Any = get_hub().loop.io(connection.sock.fileno(), WRITABLE)
        self._io.start(self._writable)

    def offer(self, blob: bytes, room: Source, offset: int) -> None:
        """Queue a room's messages up to `offset` (0: an event), or skip them when there is no space."""
        if self.admits(len(blob), room, offset):
            self._frames.append(blob)
            self.size += len(blob)

    def _writable(self) -> None:
        """Write what the socket takes; called by the loop."""
        frames = self._frames
        chunk = frames.popleft()
        while frames and len(chunk) < WRITE_BYTES:
            chunk += frames.popleft()
        try:
            sent = self.connection.sock.send(chunk)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.connection.close("lost")
            return
        if sent < len(chunk):
            frames.appendleft(chunk[sent:])
        self.eased(sent)
        if not frames:
            self.close()
            self.connection.outbox = None

    def half_sent(self) -> bytes:
        """Give the rest of what has gone out in part."""
        return self._frames[0]

    def close(self) -> None:
        """Stop writing; what waits is dropped."""
        self._io.stop()
        self._io.close()
