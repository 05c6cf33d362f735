"""The mailbox of one connection, and what a kept message looks like when stored.

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


class Box(Inbox):
    """The mailbox of one connection: its streams, and the receipts its acks are to give.

    Attributes:
        loaded: its positions are known; until then everything live waits.
        welcome: what is to be called when they are; None afterwards.
        gap: something was dropped, and the next message written is to say so.
        bseq_told: the broadcast position the store has heard.
    """

    __slots__ = ("bseq_told", "gap", "loaded", "receipts", "welcome")

    def __init__(self, welcome: Welcome | None) -> None:
        super().__init__()
        self.bseq_told = 0
        self.gap = False
        self.loaded = False
        self.welcome = welcome
        self.receipts: list[Receipt] | None = None

    def load(self, acked: int, backed: int, gap: bool) -> bool:
        """Take the device's stored positions and say welcome; False where that was said before.

        What came live before is still to be read.
        """
        self.begin(acked, backed)
        self.loaded, self.bseq_told = True, backed
        return self.greet({"seq": acked, "bseq": backed, "gap": gap})

    def greet(self, positions: dict[str, Any] | None) -> bool:
        """Say welcome, once; False where it was said before."""
        welcome, self.welcome = self.welcome, None
        if welcome is not None:
            welcome(positions)
        return welcome is not None

    @property
    def wants_read(self) -> bool:
        """Tell whether the mailbox is to be read now."""
        if not self.loaded:
            return not self.reading
        return super().wants_read
