"""What a client hears, and what its requests give back: plain records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

Epoch = int | str
"""Compared for equality only."""


class Position(NamedTuple):
    """A place in a room: offsets count 1, 2, 3 … within an epoch."""

    epoch: Epoch
    offset: int


@dataclass(slots=True)
class Event:
    """Base of all events.

    `name` is what `Client.on` takes. `droppable` ones may be left out when the
    application reads too slowly (an `Overflow` then says how many).
    """

    name: ClassVar[str] = "event"
    droppable: ClassVar[bool] = False


@dataclass(slots=True)
class Message(Event):
    """One message of a room. Offsets of a room arrive in order, each once.

    A number left out was announced before by `Missed`, `Gap` with reason
    "epoch", or `Rejoined` with `recovered` false. uid "" is the server; `time`
    is unix ms.
    """

    name: ClassVar[str] = "message"
    room: str
    epoch: Epoch
    offset: int
    uid: str
    data: Any
    time: int

    @classmethod
    def from_body(cls, body: dict[str, Any], room: str, epoch: Epoch) -> Message:
        """Give the record of a message body; bodies in a reply may leave out their room."""
        return cls(room, epoch, body["offset"], body.get("uid", ""), body.get("data"), body.get("time", 0))


@dataclass(slots=True)
class Gap(Event):
    """The server left something out (`slow`, `lost`) or the room began anew (`epoch`).

    The client fetches what is missing by itself; what cannot be had is said by
    `Missed`. With "epoch" offsets begin anew and whatever was not seen before is
    gone. Members with `presence` should ask for it again.
    """

    name: ClassVar[str] = "gap"
    room: str
    epoch: Epoch
    offset: int
    reason: str


@dataclass(slots=True)
class Missed(Event):
    """Messages `first` … `last` of this room cannot be had any more."""

    name: ClassVar[str] = "missed"
    room: str
    epoch: Epoch
    first: int
    last: int


@dataclass(slots=True)
class Rejoined(Event):
    """The client is back in the room on a new connection.

    `recovered`: nothing is missing; what was said meanwhile follows. Otherwise
    `missed` messages are gone (None: nobody knows how many, the epoch is
    another) and the newest that the room has follow.
    """

    name: ClassVar[str] = "rejoined"
    room: str
    epoch: Epoch
    offset: int
    recovered: bool
    missed: int | None
    count: int


@dataclass(slots=True)
class Subscribed(Event):
    """The server put this connection into a room; the client treats it as joined."""

    name: ClassVar[str] = "subscribed"
    room: str
    epoch: Epoch
    offset: int
    count: int


@dataclass(slots=True)
class Unsubscribed(Event):
    """No longer in the room: the server said so, or refused to let the client join again."""

    name: ClassVar[str] = "unsubscribed"
    room: str
    reason: str


@dataclass(slots=True)
class Joined(Event):
    """A user's first connection came into the room; `count` is of connections."""

    name: ClassVar[str] = "joined"
    droppable: ClassVar[bool] = True
    room: str
    uid: str
    count: int


@dataclass(slots=True)
class Left(Event):
    """A user's last connection left the room; `count` is of connections."""

    name: ClassVar[str] = "left"
    droppable: ClassVar[bool] = True
    room: str
    uid: str
    count: int


@dataclass(slots=True)
class Count(Event):
    """How many connections the room has now."""

    name: ClassVar[str] = "count"
    droppable: ClassVar[bool] = True
    room: str
    count: int


@dataclass(slots=True)
class Presence(Event):
    """A watched user came or went; `online` None: cannot be known now."""

    name: ClassVar[str] = "presence"
    droppable: ClassVar[bool] = True
    uid: str
    online: bool | None
    devices: list[dict[str, Any]]
    since: int | None


@dataclass(slots=True)
class Inbox(Event):
    """A message to this user. With `seq` or `bseq` it was kept: each arrives once; `ack` it.

    `gap`: something before this one was dropped.
    """

    name: ClassVar[str] = "inbox"
    seq: int | None
    bseq: int | None
    mid: int
    uid: str
    data: Any
    time: int
    gap: bool

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Inbox:
        """Give the record of an inbox body."""
        return cls(
            body.get("seq"),
            body.get("bseq"),
            body.get("mid", 0),
            body.get("uid", ""),
            body.get("data"),
            body.get("time", 0),
            bool(body.get("gap", False)),
        )


@dataclass(slots=True)
class Receipt(Event):
    """A device of `uid` has acked the message `mid`."""

    name: ClassVar[str] = "receipt"
    droppable: ClassVar[bool] = True
    mid: int
    uid: str
    device: str
    time: int


@dataclass(slots=True)
class State(Event):
    """A spatial map's `state`, as the server sent it."""

    name: ClassVar[str] = "state"
    droppable: ClassVar[bool] = True
    body: dict[str, Any]


@dataclass(slots=True)
class Entered(Event):
    """You were moved, or your world is back (`body` as the `enter` reply), or it is away."""

    name: ClassVar[str] = "entered"
    body: dict[str, Any]


@dataclass(slots=True)
class Goaway(Event):
    """The server will stop; the client moves by itself within `after` seconds."""

    name: ClassVar[str] = "goaway"
    reason: str
    after: float
    to: list[str]


@dataclass(slots=True)
class Kicked(Event):
    """The server ended the connection; without `reconnect` the client ends too."""

    name: ClassVar[str] = "kicked"
    code: str
    reason: str
    reconnect: bool

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Kicked:
        """Give the record of a `kick`."""
        return cls(body.get("code", ""), body.get("reason", ""), bool(body.get("reconnect", True)))


@dataclass(slots=True)
class ServerError(Event):
    """An `error` that answers no request."""

    name: ClassVar[str] = "error"
    code: str
    message: str


@dataclass(slots=True)
class StateChanged(Event):
    """The client's state is now `state`: connecting, live, recovering, offline or closed.

    `reason` says why, where there is something to say. With "live", `welcome` is the
    server's welcome (its `inbox.gap`: messages to this user were dropped meanwhile).
    """

    name: ClassVar[str] = "state_changed"
    state: str
    reason: str = ""
    welcome: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Overflow(Event):
    """The application read too slowly: `dropped` events of the droppable kinds were left out."""

    name: ClassVar[str] = "overflow"
    dropped: int


@dataclass(slots=True)
class Other(Event):
    """A push this version does not know."""

    name: ClassVar[str] = "other"
    droppable: ClassVar[bool] = True
    op: str
    body: dict[str, Any]


@dataclass(slots=True)
class JoinReply:
    """What `join` gives.

    `messages` are those after `since` and do not come as events too; when `more`
    were kept, they follow as events. Without `recovered` messages are missing
    between `since` and these.
    """

    room: str
    epoch: Epoch
    offset: int
    recovered: bool
    messages: list[Message]
    more: bool
    count: int


@dataclass(slots=True)
class HistoryReply:
    """What `history` gives: `offset` is the newest, `first` the oldest kept."""

    room: str
    epoch: Epoch
    offset: int
    first: int
    recovered: bool
    messages: list[Message]
    more: bool


@dataclass(slots=True)
class InboxReply:
    """What `inbox` gives: ask on from `seq` and `bseq` while `more`."""

    messages: list[Inbox]
    gap: bool
    more: bool
    seq: int
    bseq: int | None


def messages(bodies: Iterable[dict[str, Any]], room: str, epoch: Epoch) -> list[Message]:
    """Give the records of the message bodies of one room, in their order."""
    return [Message.from_body(body, room, epoch) for body in bodies]
