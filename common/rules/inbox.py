"""What of a user's mailbox one connection has been sent, and what it may be sent next.

Live copies and the stored backlog are one stream, for messages (`seq`) and for broadcasts
(`bseq`): each live copy carries its number and `prev`, the number given before it.

    number not above what was sent last       known: dropped
    prev not above what was sent last         next: sent
    prev above it, or no space in the window  the mailbox must be read first

One window bounds what of both streams is sent and not acknowledged; with each `ack` it
moves on. A read is always for both. A connection that is neither behind nor owes an ack
costs a few numbers.

Source: docs/protocol.md, section 6, inbox; docs/architecture.md, the path of a message.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

WINDOW_MESSAGES = 100
WINDOW_BYTES = 262_144


class Verdict(Enum):
    """What to do with a live copy."""

    DROP = "drop"
    SEND = "send"
    READ = "read"


class Stream:
    """One of the two streams of a connection.

    Args:
        acked: the device's stored position: what is above it is sent.

    Attributes:
        sent: number of the newest message sent; never goes back.
        unacked_bytes: size of what is sent and not acknowledged.
    """

    __slots__ = ("_unacked", "acked", "sent", "unacked_bytes")

    def __init__(self, acked: int) -> None:
        self.acked = acked
        self.sent = acked
        self.unacked_bytes = 0
        self._unacked: deque[tuple[int, int]] | None = None

    def begin(self, acked: int) -> None:
        """Take the device's stored position; nothing was sent yet."""
        self.acked = self.sent = acked

    @property
    def unacked(self) -> int:
        """How many messages are sent and not acknowledged."""
        return len(self._unacked) if self._unacked is not None else 0

    def take(self, number: int, size: int) -> bool:
        """Count a message as sent; False: it was before, or the device has acknowledged past it."""
        if number <= self.sent:
            return False
        self.sent = number
        if self._unacked is None:
            self._unacked = deque()
        self._unacked.append((number, size))
        self.unacked_bytes += size
        return True

    def pass_over(self, number: int) -> None:
        """Nothing up to `number` will be sent: it was trimmed, expired or given up."""
        self.sent = max(self.sent, number)

    def ack(self, number: int) -> bool:
        """Take a cumulative ack; False when it moves nothing.

        An ack above what was sent is the store's to judge before.
        """
        if number <= self.acked:
            return False
        self.acked = number
        self.pass_over(number)
        while self._unacked and self._unacked[0][0] <= number:
            self.unacked_bytes -= self._unacked.popleft()[1]
        if not self._unacked:
            self._unacked = None
        return True


class Inbox:
    """Both streams of one connection, and the window they share.

    Attributes:
        behind: the mailbox holds something not sent: it must be read when there is space.
        reading: a read is under way.
    """

    __slots__ = ("behind", "bseq", "reading", "seq")

    def __init__(self) -> None:
        self.seq = Stream(0)
        self.bseq = Stream(0)
        self.behind = False
        self.reading = False

    def begin(self, acked: int, backed: int) -> None:
        """Take the device's stored positions; what came live before is still to be read."""
        self.seq.begin(acked)
        self.bseq.begin(backed)

    def space(self) -> tuple[int, int]:
        """Give how many messages and bytes the window still takes."""
        count = self.seq.unacked + self.bseq.unacked
        return WINDOW_MESSAGES - count, WINDOW_BYTES - self.seq.unacked_bytes - self.bseq.unacked_bytes

    @property
    def has_space(self) -> bool:
        """Tell whether the window takes another message."""
        return min(self.space()) > 0

    @property
    def wants_read(self) -> bool:
        """Tell whether the mailbox is to be read now."""
        return self.behind and not self.reading and self.has_space

    def live(self, stream: Stream, number: int, prev: int, size: int) -> Verdict:
        """Judge a live copy; SEND has counted it as sent, READ asks for a read of the mailbox.

        Args:
            stream: `seq` or `bseq` of this inbox.
            number, prev: its number and the one given before it.
            size: bytes it takes in the window.
        """
        if number <= stream.sent:
            return Verdict.DROP
        if self.reading or self.behind or prev > stream.sent or not self.has_space:
            self.behind = True
            return Verdict.READ
        stream.take(number, size)
        return Verdict.SEND

    def read_began(self) -> tuple[int, int]:
        """Note that a read is under way; give the numbers it goes on after.

        What arrives live from here on is not sent before the read has ended, and
        makes the connection behind again, so nothing falls between the two.
        """
        self.reading = True
        self.behind = False
        return self.seq.sent, self.bseq.sent

    def read_ended(self, seq: int, bseq: int, more: bool) -> None:
        """A read went up to these numbers, and what it gave is taken; `more` is left there."""
        self.reading = False
        self.seq.pass_over(seq)
        self.bseq.pass_over(bseq)
        self.behind = self.behind or more

    def read_failed(self) -> None:
        """The store did not answer: what was asked for is still to be read."""
        self.reading = False
        self.behind = True
