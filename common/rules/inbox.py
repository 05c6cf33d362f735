"""What of a user's mailbox one connection has been sent, and what it may be sent next.

Live copies and the stored backlog are one stream: each live copy carries its number
and `prev`, the number given before it.

    number not above what was sent last       known: dropped
    prev not above what was sent last         next: sent
    prev above it, or no space in the window  the mailbox must be read first

The window bounds what is sent and not acknowledged; with each `ack` it moves on. A
connection that is neither behind nor owes an ack costs three numbers.

Source: docs/protocol.md, section 6, inbox; docs/architecture.md, the path of a message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

WINDOW_MESSAGES = 100
WINDOW_BYTES = 262_144


class Verdict(Enum):
    """What to do with a live copy."""

    DROP = "drop"
    SEND = "send"
    READ = "read"


class Inbox:
    """One of the two streams (`seq` or `bseq`) of one connection.

    Args:
        acked: the device's stored position: what is above it is sent.

    Attributes:
        sent: number of the newest message sent; never goes back.
        behind: the mailbox holds something not sent: it must be read when there is space.
        reading: a read is under way.
    """

    __slots__ = ("_unacked", "acked", "behind", "reading", "sent", "unacked_bytes")

    def __init__(self, acked: int) -> None:
        self.acked = acked
        self.sent = acked
        self.behind = False
        self.reading = False
        self.unacked_bytes = 0
        self._unacked: deque[tuple[int, int]] | None = None

    def live(self, number: int, prev: int, size: int) -> Verdict:
        """Judge a live copy; SEND has counted it as sent, READ asks for a read of the mailbox.

        Args:
            number, prev: its number and the one the mailbox gave before it.
            size: bytes it takes in the window.
        """
        if number <= self.sent:
            return Verdict.DROP
        if self.reading or self.behind or prev > self.sent or not self.has_space:
            self.behind = True
            return Verdict.READ
        self._count(number, size)
        return Verdict.SEND

    @property
    def has_space(self) -> bool:
        """Tell whether the window takes another message."""
        count = len(self._unacked) if self._unacked is not None else 0
        return count < WINDOW_MESSAGES and self.unacked_bytes < WINDOW_BYTES

    @property
    def wants_read(self) -> bool:
        """Tell whether the mailbox is to be read now."""
        return self.behind and not self.reading and self.has_space

    def space(self) -> tuple[int, int]:
        """Give how many messages and bytes the window still takes."""
        count = len(self._unacked) if self._unacked is not None else 0
        return WINDOW_MESSAGES - count, WINDOW_BYTES - self.unacked_bytes

    def read_began(self) -> int:
        """Note that a read is under way; give the number it goes on after.

        What arrives live from here on is not sent before the read has ended, and
        makes the connection behind again, so nothing falls between the two.
        """
        self.reading = True
        self.behind = False
        return self.sent

    def read_ended(self, numbers: Iterable[tuple[int, int]], more: bool) -> None:
        """Take what a read gave: (number, size) of each message sent; `more` is left there."""
        self.reading = False
        for number, size in numbers:
            self._count(number, size)
        self.behind = self.behind or more

    def read_failed(self) -> None:
        """The store did not answer: what was asked for is still to be read."""
        self.reading = False
        self.behind = True

    def pass_over(self, number: int) -> None:
        """Nothing up to `number` will be sent: it was trimmed, expired or given up."""
        self.sent = max(self.sent, number)

    def ack(self, number: int) -> bool:
        """Take a cumulative ack; False when it moves nothing.

        An ack above what was sent is the store's to judge; here it frees the window.
        """
        if number <= self.acked:
            return False
        self.acked = number
        while self._unacked and self._unacked[0][0] <= number:
            self.unacked_bytes -= self._unacked.popleft()[1]
        if not self._unacked:
            self._unacked = None
        return True

    def _count(self, number: int, size: int) -> None:
        self.sent = number
        if self._unacked is None:
            self._unacked = deque()
        self._unacked.append((number, size))
        self.unacked_bytes += size
