"""One client connection: a greenlet while it talks, a watcher and this object while it is quiet.

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

from gevent import get_hub, sleep
from greenlet import greenlet

from common.errors import Kick, RequestError
from common.net.front.outbox import Outbox
from common.rules.limits import TokenBucket
from common.wire.codec import Packet, encode, ping_reply
from common.wire.framing import cut

if TYPE_CHECKING:
    from common.net.front.box import Box
    from common.net.front.front import Front
    from common.net.front.mirror import MirrorRoom
    from common.rules.rights import Rights
    from common.rules.tags import Tags

READABLE = 1
READ_BYTES = 16_384
PACE_SECONDS = 0.05
"""How often a connection whose outbox is too full looks whether it may read again."""
ANSWERS_AWAITED = 16
"""Requests under way above which the next one with a large answer (≤ 256 KiB) is not taken yet."""
BURST = 2
"""Seconds of its rate a connection may use at once."""


class Talk:
    """What a connection has only while it talks."""

    __slots__ = ("active_at", "bytes", "greenlet", "joining", "packets", "paused", "rest", "waiting")

    def __init__(self, front: Front, run: Any) -> None:
        settings = front.settings
        self.greenlet = greenlet(run, get_hub())
        self.waiting = False
        self.paused = False
        self.rest = b""
        self.active_at = front.now
        self.joining: dict[str, list[Packet]] = {}
        rate = settings.packets_per_second
        self.packets = TokenBucket(rate, BURST * rate)
        self.bytes = TokenBucket(settings.bytes_per_second, BURST * settings.bytes_per_second)


class Connection:
    """A client's socket, who it is, and where it is.

    Attributes:
        number: unique in this gateway's life.
        user: "product/uid"; "" until the login is finished.
        epoch: login epoch given by session.
        rooms: where it is a member.
        box: its mailbox; None before the login and after the end.
        tags: of its token, or set for its device.
        in_flight: requests without an answer.
    """

    __slots__ = (
        "_io",
        "_talk",
        "address",
        "box",
        "closed",
        "device",
        "epoch",
        "exp",
        "front",
        "heard_at",
        "in_flight",
        "kind",
        "number",
        "outbox",
        "rights",
        "rooms",
        "sock",
        "tags",
        "user",
        "watching",
    )

    rights: Rights

    def __init__(self, front: Front, number: int, sock: Any, address: str) -> None:
        self.front = front
        self.number = number
        self.sock = sock
        self.address = address
        self.user = ""
        self.device = ""
        self.kind = ""
        self.epoch = 0
        self.exp = 0
        self.rooms: tuple[MirrorRoom, ...] = ()
        self.watching: set[str] | None = None
        self.box: Box | None = None
        self.tags: Tags = ()
        self.in_flight = 0
        self.outbox: Outbox | None = None
        self.closed = False
        self.heard_at = front.now
        self._talk: Talk | None = None
        self._io: Any = get_hub().loop.io(sock.fileno(), READABLE)
        self._io.start(self._readable)

    # writing

    def send(self, frame: bytes) -> None:
        """Write a packet that must not be skipped; never blocks."""
        if self.outbox is not None:
            self.outbox.add(frame)
        elif not self.closed:
            try:
                sent = self.sock.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close("lost")
                return
            if sent < len(frame):
                self.outbox = Outbox(self, frame[sent:])

    def push(self, blob: bytes, room: MirrorRoom, offset: int) -> None:
        """Write a room's messages, the last of them `offset`; skipped when the client is too slow."""
        if self.outbox is not None:
            self.outbox.offer(blob, room, offset)
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

    def reply(self, number: int, body: dict[str, Any]) -> None:
        """Answer request `number` with `ok`; 0 wants no answer."""
        if number:
            self.send(encode("ok", number, body))

    def refuse(self, number: int, error: RequestError) -> None:
        """Answer request `number` with `error`; 0 wants no answer."""
        self.front.counters.refused += 1
        if number:
            self.send(encode("error", number, error.body()))

    # reading

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
            whole = len(data) < 24 and data[:3] == b"\0\0\0" and len(data) == 4 + data[3]
            pong = ping_reply(data[4:]) if whole else None
            if pong is not None:
                self.heard_at = self.front.now
                self.front.counters.pings += 1
                if pong:
                    self.send(pong)
                return
        self._talk = Talk(self.front, self._run)
        self.front.talking(self)
        self._talk.greenlet.switch(data)

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
            while True:
                if data:
                    self._take(data)
                if self.closed or not self._next():
                    return
                data = self._receive()
        except Kick as kick:
            self.kick(kick.code, kick.reason)
        except RequestError as error:
            self.send(encode("error", 0, error.body()))
            self.kick("protocol", error.message)
        except Exception:  # noqa: BLE001 - the connection loop: a defect ends this connection only
            self.front.log.exception("connection failed", connection=self.number)
            self.kick("internal", "a defect of the server")
        finally:
            self._talk = None

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
        self.heard_at = talk.active_at = self.front.now
        wait = talk.bytes.take(talk.active_at, len(data))
        while wait:
            sleep(wait)
            wait = talk.bytes.take(self.front.now, len(data))
        buffer = talk.rest + data if talk.rest else data
        while not self.closed:
            bodies, buffer = cut(buffer, self.front.settings.packet_bytes)
            if not bodies:
                break
            for body in bodies:
                self.front.handle(self, talk, body)
                if self.outbox is not None:
                    self.let_drain()
                if self.closed:
                    return
        talk.rest = buffer

    def let_drain(self) -> None:
        """Wait while answers overfill the outbox: nothing more is taken from this client then."""
        while self.outbox is not None and self.outbox.size > self.front.outbox_bytes:
            sleep(PACE_SECONDS)

    def await_answers(self) -> None:
        """Wait until few requests are under way: so many large answers may come at once."""
        while self.in_flight + sum(map(len, self.joining.values())) >= ANSWERS_AWAITED:
            sleep(PACE_SECONDS)

    def covered(self, room: MirrorRoom) -> None:
        """What it missed of a room needs no `gap` any more: it left, or is told where the room stands."""
        if self.outbox is not None:
            self.outbox.skipped.pop(room, None)

    @property
    def joining(self) -> dict[str, list[Packet]]:
        """Rooms whose join is under way -> what came for them behind it; {} while quiet."""
        return self._talk.joining if self._talk is not None else {}

    def stuck_for(self, now: float) -> float:
        """Give for how many seconds its outbox has been full."""
        return now - self.outbox.stuck_since if self.outbox is not None else 0.0

    def park(self) -> bool:
        """Give the greenlet back if it only waits; called by the loop.

        Returns:
            False when it cannot yet: a request is under way, half a packet is here, or
            its limits would be as good as new.
        """
        talk = self._talk
        if talk is None:
            return True
        if not talk.waiting or talk.rest or talk.joining or self.in_flight:
            return False
        if not (talk.packets.is_idle(self.front.now) and talk.bytes.is_idle(self.front.now)):
            return False
        talk.greenlet.switch(False)
        return True

    # ending

    def kick(self, code: str, reason: str) -> None:
        """Tell the client why it must go, and end the connection."""
        if not self.closed:
            self.front.counters.kicks += 1
            self.finish(encode("kick", 0, Kick(code, reason).body()), code)

    def finish(self, words: bytes, why: str) -> None:
        """End the connection with last words.

        They arrive if the client reads within a moment; of what waits in the outbox
        only the packet that is half out is completed.
        """
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
