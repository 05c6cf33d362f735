"""One client: who it is, where it is a member, and how it is answered, whatever carries its packets.

    StreamConnection (stream.py)    a socket: TCP, WebSocket, each with or without TLS
    PollConnection (poll.py)        a session of requests: long polling, server-sent events

Handlers know this class only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from gevent import sleep

from common.errors import Kick, RequestError
from common.rules.limits import TokenBucket
from common.wire.codec import Packet, encode

if TYPE_CHECKING:
    from common.net.front.box import Box
    from common.net.front.front import Front
    from common.net.front.mirror import MirrorRoom
    from common.net.front.outbox import Backlog, Source
    from common.net.front.views import Seat
    from common.rules.rights import Rights
    from common.rules.tags import Tags

DOORS = ("tcp", "web", "tls")
"""Kinds of ports. Those with TLS, of both, all gateways share; of each other kind a gateway has its own."""
PAUSE_LIMIT = 1.0
"""Longest pause, in seconds, in reading from a client that sends too many packets."""
PACE_SECONDS = 0.05
"""How often a connection whose outbox is too full looks whether it may read again."""
ANSWERS_AWAITED = 16
"""Requests under way above which the next one with a large answer (≤ 256 KiB) is not taken yet."""
BURST = 2
"""Seconds of its rate a connection may use at once."""


class Talk:
    """What a connection has only while it talks.

    Attributes:
        joining: rooms whose join is under way -> what came for them behind it.
        packets, bytes: its limits.
    """

    __slots__ = ("bytes", "joining", "packets")

    def __init__(self, front: Front) -> None:
        settings = front.settings
        self.joining: dict[str, list[Packet]] = {}
        rate = settings.packets_per_second
        self.packets = TokenBucket(rate, BURST * rate)
        self.bytes = TokenBucket(settings.bytes_per_second, BURST * settings.bytes_per_second)

    def pace(self, front: Front, controls: int) -> None:
        """Count a carrier's own frames like packets; wait when they are too many."""
        while controls:
            wait = self.packets.take(front.now, controls)
            if not wait:
                return
            sleep(min(wait, PAUSE_LIMIT))

    def is_idle(self, now: float) -> bool:
        """Tell whether a new one would be as good."""
        return not self.joining and self.packets.is_idle(now) and self.bytes.is_idle(now)


class Connection:
    """A client and where it is.

    Attributes:
        number: unique in this gateway's life.
        address: where it came from; "" once it is logged in.
        user: "product/uid"; "" until the login is finished.
        epoch: login epoch given by session.
        rooms: where it is a member.
        box: its mailbox; None before the login and after the end.
        tags: of its token, or set for its device.
        seat: where it is in a map.
        in_flight: requests without an answer.
        outbox: what waits for it; None while nothing does.
    """

    __slots__ = (
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
        "seat",
        "tags",
        "user",
        "watching",
    )

    BY_REQUESTS: ClassVar[bool] = False
    """It has no socket of its own; requests come for it."""
    rights: Rights
    outbox: Backlog | None

    def __init__(self, front: Front, number: int, address: str) -> None:
        self.front = front
        self.number = number
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
        self.seat: Seat | None = None
        self.in_flight = 0
        self.outbox = None
        self.closed = False
        self.heard_at = front.now

    # what each carrier does its own way

    def send(self, frame: bytes) -> None:
        """Write a packet that must not be skipped; never blocks."""
        raise NotImplementedError

    def push(self, blob: bytes, source: Source, offset: int, own: bytes = b"") -> None:
        """Write a room's messages, the last of them `offset`; skipped when the client is too slow.

        Args:
            blob: the same object for all who get the same.
            own: a packet for this client alone, behind them.
        """
        raise NotImplementedError

    def finish(self, words: bytes, why: str) -> None:
        """End the connection with last words, a framed packet or b""."""
        raise NotImplementedError

    def close(self, why: str) -> None:
        """End the connection at once; a second call changes nothing."""
        raise NotImplementedError

    def park(self) -> bool:
        """Give back what only a talking connection needs; False: not yet. Called by the loop."""
        raise NotImplementedError

    @property
    def door(self) -> str:
        """Name what it came in by: one of DOORS."""
        raise NotImplementedError

    def is_left(self) -> bool:
        """Tell whether the client is known to have gone, and nothing it sent is still to be read."""
        return False

    @property
    def talk(self) -> Talk | None:
        """What it has while it talks."""
        raise NotImplementedError

    def silent_at(self, heartbeats: float) -> float:
        """Give when it counts as gone if it is not heard before; front's clock."""
        return self.heard_at + heartbeats * self.front.settings.ping

    # answering

    def reply(self, number: int, body: dict[str, Any]) -> None:
        """Answer request `number` with `ok`; 0 wants no answer."""
        if number:
            self.send(encode("ok", number, body))

    def refuse(self, number: int, error: RequestError) -> None:
        """Answer request `number` with `error`; 0 wants no answer."""
        self.front.counters.refused += 1
        if number:
            self.send(encode("error", number, error.body()))

    def kick(self, code: str, reason: str) -> None:
        """Tell the client why it must go, and end the connection."""
        if not self.closed:
            self.front.counters.kicks += 1
            self.finish(encode("kick", 0, Kick(code, reason).body()), code)

    def guard(self, take: Callable[[], None]) -> None:
        """Run what takes its packets: what that raises ends the connection, and the client hears why."""
        try:
            take()
        except Kick as kick:
            self.kick(kick.code, kick.reason)
        except RequestError as error:
            self.send(encode("error", 0, error.body()))
            self.kick("protocol", error.message)
        except Exception:  # noqa: BLE001 - the connection loop: a defect ends this connection only
            self.front.log.exception("connection failed", connection=self.number)
            self.kick("internal", "a defect of the server")

    # how fast it may go

    def take_bytes(self, talk: Talk, count: int) -> None:
        """Count bytes that came; waits while they are too many."""
        self.heard_at = self.front.now
        wait = talk.bytes.take(self.front.now, count)
        while wait:
            sleep(wait)
            wait = talk.bytes.take(self.front.now, count)

    def let_drain(self) -> None:
        """Wait while answers overfill the outbox: nothing more is taken from this client then."""
        while self.outbox is not None and self.outbox.size > self.front.outbox_bytes:
            sleep(PACE_SECONDS)

    def await_answers(self) -> None:
        """Wait until few requests are under way: so many large answers may come at once."""
        while self.in_flight + sum(map(len, self.joining.values())) >= ANSWERS_AWAITED:
            sleep(PACE_SECONDS)

    @property
    def joining(self) -> dict[str, list[Packet]]:
        """Rooms whose join is under way -> what came for them behind it; {} while quiet."""
        talk = self.talk
        return talk.joining if talk is not None else {}

    def covered(self, source: Source) -> None:
        """What it missed of a room needs no `gap` any more: it left, or is told where the room stands."""
        if self.outbox is not None:
            self.outbox.skipped.pop(source, None)

    def missed(self, source: Source) -> bool:
        """Tell whether it was too slow for something of a room, and has not caught up."""
        return self.outbox is not None and source in self.outbox.skipped

    def stuck_for(self, now: float) -> float:
        """Give for how many seconds its outbox has been full."""
        return now - self.outbox.stuck_since if self.outbox is not None else 0.0
