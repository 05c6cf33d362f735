"""A connection on a socket: a greenlet while it talks, a watcher and this object while it is quiet.

    quiet ──readable──▶ one ping in a tick of the clock: answered right here
                   └──▶ anything else: a greenlet takes it, within the limits, and goes on reading
    talking ──nothing for park_after──▶ quiet

The loop calls `_readable` in both states; it switches straight into the waiting
greenlet. When data comes while the greenlet is in the middle of a request, the
watcher rests until the greenlet asks for more. Parking is told from the loop
(`park`), never from another greenlet, which would lose its own turn.

Source: docs/architecture.md, connections.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any

from gevent import get_hub
from greenlet import greenlet

from common.errors import Kick
from common.net.front.connection import Connection, Talk
from common.net.front.form import TCP, Form, Reader
from common.net.front.outbox import Outbox
from common.net.front.sockets import TlsSocket
from common.wire.codec import encode

if TYPE_CHECKING:
    from common.net.front.front import Front
    from common.net.front.outbox import Source

READABLE = 1
READ_BYTES = 16_384


class StreamTalk(Talk):
    """A talking connection's greenlet and reader.

    Attributes:
        waiting: the greenlet waits for more to read.
        paused: more came while it was busy; the watcher rests.
    """

    __slots__ = ("greenlet", "paused", "reader", "waiting")

    def __init__(self, front: Front, run: Any, reader: Reader) -> None:
        super().__init__(front)
        self.greenlet = greenlet(run, get_hub())
        self.reader = reader
        self.waiting = False
        self.paused = False


class StreamConnection(Connection):
    """A client on a socket of its own.

    Args:
        sock: non-blocking.
        form: how packets stand on it.
    """

    __slots__ = ("_io", "_talk", "form", "sock")

    outbox: Outbox | None

    def __init__(self, front: Front, number: int, sock: Any, address: str, form: Form = TCP) -> None:
        super().__init__(front, number, address)
        self.sock = sock
        self.form = form
        self._talk: StreamTalk | None = None
        self._io: Any = get_hub().loop.io(sock.fileno(), READABLE)
        self._io.start(self._readable)

    @property
    def talk(self) -> Talk | None:
        """What it has while it talks."""
        return self._talk

    @property
    def door(self) -> str:
        """Name what it came in by."""
        if isinstance(self.sock, TlsSocket):
            return "tls"
        return "tcp" if self.form is TCP else "web"

    # writing

    def send(self, frame: bytes) -> None:
        """Write a packet that must not be skipped; never blocks."""
        if self.form is not TCP:
            frame = self.form.wrap(frame)
        self._write(frame)

    def _write(self, data: bytes) -> None:
        if self.outbox is not None:
            self.outbox.add(data)
        elif not self.closed:
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close("lost")
                return
            if sent < len(data):
                self.outbox = Outbox(self, data[sent:])

    def push(self, blob: bytes, source: Source, offset: int, own: bytes = b"") -> None:
        """Write a room's messages, the last of them `offset`; skipped when the client is too slow."""
        if self.form is not TCP:
            blob = self.form.wrap(blob) + self.form.wrap_one(own)
        elif own:
            blob += own
        if self.outbox is not None:
            self.outbox.offer(blob, source, offset)
        elif not self.closed:
            try:
                sent = self.sock.send(blob)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close("lost")
                return
            if sent < len(blob):
                self.outbox = Outbox(self, blob[sent:])

    # reading

    def begin_later(self, data: bytes) -> None:
        """Take, from the loop, bytes that came before this connection was made; nothing else before them."""
        self._io.stop()
        get_hub().loop.run_callback(self._begin_now, data)

    def _begin_now(self, data: bytes) -> None:
        if not self.closed:
            self._io.start(self._readable)
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        self._talk = StreamTalk(self.front, self._run, self.form.reader(self.front.settings.packet_bytes))
        self.front.clock.talking(self)
        self._talk.greenlet.switch(data)

    def _readable(self) -> None:
        """Called by the loop: switch into the waiting greenlet, or take what came while quiet."""
        talk = self._talk
        if talk is None:
            self._wake()
        elif talk.waiting:
            talk.greenlet.switch(True)
        else:
            talk.paused = True
            self._io.stop()

    def _wake(self) -> None:
        data = self._receive()
        if not data:
            return
        if self.user and self.heard_at != self.front.now:
            pong = self.form.quick(data)
            if pong is not None:
                self.heard_at = self.front.now
                self.front.counters.pings += 1
                if pong:
                    self._write(pong)
                return
        self._begin(data)

    def _receive(self) -> bytes | None:
        """Read once; None when nothing came or the connection ended."""
        try:
            data: bytes = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.close("lost")
            return None
        return data

    def is_left(self) -> bool:
        """Tell whether the client has closed its end, and nothing it sent is still to be read."""
        try:
            return not self.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _run(self, data: bytes | None) -> None:
        """The greenlet: take what came, wait for more, until parked or closed."""
        try:
            self.guard(lambda: self._take_all(data))
        finally:
            talk, self._talk = self._talk, None
            if talk is not None:
                talk.reader.close()

    def _take_all(self, data: bytes | None) -> None:
        while True:
            if data:
                self._take(data)
            if self.closed or not self._next():
                return
            data = self._receive()

    def _next(self) -> bool:
        """Wait until there is something to read; False: park, or end."""
        talk = self._talk
        assert talk is not None
        if talk.paused:
            talk.paused = False
            self._io.start(self._readable)
        talk.waiting = True
        more = get_hub().switch()
        talk.waiting = False
        return bool(more) and not self.closed

    def _take(self, data: bytes) -> None:
        talk = self._talk
        assert talk is not None
        self.take_bytes(talk, len(data))
        reader = talk.reader
        bodies = reader.take(data)
        while not self.closed:
            if reader.grown:
                self.take_bytes(talk, reader.grown)
            for body in bodies:
                self.front.handle(self, talk, self.form.decode(body))
                self.let_drain()
                if self.closed:
                    return
            if reader.over or reader.controls:
                self._take_controls(talk)
            if not bodies:
                return
            bodies = reader.take(b"")

    def _take_controls(self, talk: StreamTalk) -> None:
        """Write what the carrier itself answers; its frames cost like packets."""
        reader = talk.reader
        replies, controls = reader.replies(), reader.controls
        if reader.over:
            self._carrier_ended(reader.failed, replies)
            return
        reader.controls = 0
        if replies:
            self._write(replies)
        self.let_drain()
        talk.pace(self.front, controls)

    def _carrier_ended(self, failed: str, replies: bytes) -> None:
        """The client closed, or broke a rule of the carrier, which ends it in its own words."""
        words = b""
        if failed:
            self.front.counters.kicks += 1
            words = self.form.wrap(encode("kick", 0, Kick("protocol", failed).body()))
        self._end(words + replies, "protocol" if failed else "closed")

    def park(self) -> bool:
        """Give the greenlet back if it only waits; called by the loop.

        Returns:
            False when it cannot yet: a request is under way, half a packet is here, or
            its limits would be as good as new.
        """
        talk = self._talk
        if talk is None:
            return True
        if not talk.waiting or self.in_flight or not talk.reader.idle or not talk.is_idle(self.front.now):
            return False
        talk.greenlet.switch(False)
        return True

    # ending

    def finish(self, words: bytes, why: str) -> None:
        """End the connection with last words.

        They arrive if the client reads within a moment; of what waits in the outbox
        only the packet that is half out is completed.
        """
        self._end(self.form.wrap(words) + self.form.closing(why), why)

    def _end(self, words: bytes, why: str) -> None:
        if self.closed:
            return
        if self.outbox is not None:
            words = self.outbox.half_sent() + words
        sock, self.sock = self.sock, _CLOSED
        self._leave(why)
        self.front.linger(sock, words)

    def close(self, why: str) -> None:
        """End the connection at once; a second call changes nothing."""
        if self.closed:
            return
        sock, self.sock = self.sock, _CLOSED
        self._leave(why)
        sock.close()

    def _leave(self, why: str) -> None:
        self.closed = True
        self._io.stop()
        self._io.close()
        if self.outbox is not None:
            self.outbox.close()
            self.outbox = None
        self.front.gone(self, why)
        talk = self._talk
        if talk is not None and talk.waiting:
            get_hub().loop.run_callback(self._end_talk)

    def _end_talk(self) -> None:
        talk = self._talk
        if talk is not None and talk.waiting:
            talk.greenlet.switch(False)


class _Closed:
    """Stands for the socket of a connection that has ended."""

    __slots__ = ()

    def send(self, _data: bytes | int, _flags: int = 0) -> int:
        raise OSError("closed")

    recv = send


_CLOSED = _Closed()
