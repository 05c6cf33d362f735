"""The mailbox of one connection: its two streams, and what a kept message looks like when stored.

    letter   msgpack [sender's uid, data, time in ms, receipt wanted]

Source: docs/protocol.md, section 6, inbox; docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from common.rules.inbox import Inbox
from common.wire.codec import pack, unpack

Welcome = Callable[[dict[str, Any] | None], None]
"""Called once with the device's positions {seq, bseq, gap}, or None while storage is away."""


class Letter(NamedTuple):
    """A kept message's stored body: data is msgpack, time unix ms."""

    uid: str
    data: bytes
    time: int
    receipt: bool


def pack_letter(letter: Letter) -> bytes:
    """Give the body as it is stored."""
    return pack(list(letter))


def unpack_letter(body: bytes) -> Letter:
    """Read a stored body."""
    return Letter(*unpack(body))


class Receipt(NamedTuple):
    """What the sender of a message hears once this device has acked `seq`."""

    seq: int
    mid: int
    sender: str


class Box:
    """The two streams of one connection, and the receipts its acks are to give.

    Attributes:
        loaded: its positions are known; until then everything live waits.
        welcome: what is to be called when they are; None afterwards.
        bseq_told: the broadcast position the store has heard.
    """

    __slots__ = ("bseq", "bseq_told", "loaded", "receipts", "seq", "welcome")

    def __init__(self, welcome: Welcome | None) -> None:
        self.seq = Inbox(0)
        self.bseq = Inbox(0)
        self.bseq_told = 0
        self.loaded = False
        self.welcome = welcome
        self.receipts: list[Receipt] | None = None

    @property
    def wants_read(self) -> bool:
        """Tell whether the mailbox is to be read now."""
        if not self.loaded:
            return not self.seq.reading
        return self.seq.wants_read or self.bseq.wants_read
