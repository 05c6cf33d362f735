"""When a stream between two processes starts anew, and what of it is still valid.

Each pair of processes has one stream each way. The process whose name sorts first
*initiates*: it numbers the sessions of the pair. The other follows: its stream
carries the session it was offered last, so both ways always start anew together.

    initiator                         follower
    hello (session 0) ───────────▶
                      ◀─────────── hello (session 0), with its incarnation
    session 1, number 0 ─────────▶    accepts: both streams are new
                      ◀─────────── session 1, number 0
    session 1, number 1 …

A stream ends when the peer has a new incarnation or term, when a number is missing,
when the peer was silent too long, when a queue overflowed, when this process was
frozen, and when the peer says that it ended it: a hello of the initiator tells the
follower; a follower's hello carries the session that it wants ended (`number`), since
it cannot number the next one. A session of which the follower missed the beginning is
one it wants ended.

What is dropped: an older incarnation or term of the sender, another incarnation or
term of the receiver than its present one, another session than the present one.

Source: docs/architecture.md, section 5.
"""

from __future__ import annotations

from enum import Enum

from common.wire.batch import Header


class Verdict(Enum):
    """What to do with a batch that arrived."""

    STALE = "stale"
    DROP = "drop"
    HELLO = "hello"
    NEW = "new"
    NEXT = "next"
    BROKEN = "broken"


class Stream:
    """Both directions between this process and one peer.

    Args:
        own_name, peer_name: the pair; the smaller name initiates.

    Attributes:
        incarnation, term: the newest of the peer heard of; "" and 0 before.
        session: the one begun last, or (follower) the one that is to end.
        open: the session goes on.
        begun: how many sessions began; tells one from the next.
        looks: how many there were since the peer's present incarnation and term was heard.
        peer_knows_us: its last batch named our present incarnation and term.
    """

    __slots__ = (
        "awaited",
        "begun",
        "incarnation",
        "initiates",
        "looks",
        "open",
        "peer_knows_us",
        "sent",
        "session",
        "term",
    )

    def __init__(self, own_name: str, peer_name: str) -> None:
        self.initiates = own_name < peer_name
        self.incarnation = ""
        self.term = 0
        self.session = 0
        self.open = False
        self.begun = 0
        self.sent = 0
        self.awaited = 0
        self.looks = 0
        self.peer_knows_us = False

    def receive(self, header: Header, own_incarnation: str, own_term: int) -> Verdict:
        """Judge a batch by its header. An initiator without an open session starts the next one then.

        Args:
            header: as read from the batch.
            own_incarnation, own_term: this process's present ones.

        Returns:
            STALE: from an older incarnation or term; nothing of it may be looked at.
            DROP: of another session; its sender lives, its items are void.
            HELLO: no valid items; the peer lives, `incarnation` and `term` are up to date.
            NEW: the first batch of the session; its items are valid. For the follower
                the session begins with it, and one that was open has ended.
            NEXT: the next batch of the session; its items are valid.
            BROKEN: the session has ended just now, or began without us; say so at once
                (the follower asks for the next one, the initiator has started it).
        """
        sender = (header.sender_incarnation, header.sender_term)
        if sender < (self.incarnation, self.term):
            return Verdict.STALE
        self.looks = 0
        was_open = self.open
        if sender > (self.incarnation, self.term):
            self.incarnation, self.term = sender
            self._forget()
        receiver = (header.receiver_incarnation, header.receiver_term)
        self.peer_knows_us = receiver == (own_incarnation, own_term)
        verdict = self._judge(header)
        ended = was_open and not self.open
        if self.initiates and not self.open:
            self._start(self.session + 1)
        return Verdict.BROKEN if ended else verdict

    def _judge(self, header: Header) -> Verdict:
        if not self.peer_knows_us:
            return Verdict.HELLO
        if header.session == 0:
            return self._greeted(header)
        if self.initiates:
            return self._answered(header)
        return self._led(header)

    def _greeted(self, header: Header) -> Verdict:
        """A hello: the initiator has ended the session, or the follower wants this one ended."""
        if not self.initiates or header.number == self.session:
            self.open = False
        return Verdict.HELLO

    def _answered(self, header: Header) -> Verdict:
        if header.session != self.session or not self.open:
            return Verdict.DROP
        return self._count(header)

    def _led(self, header: Header) -> Verdict:
        if header.session > self.session:
            self._start(header.session)
        elif header.session < self.session or not self.open:
            return Verdict.DROP
        return self._count(header)

    def _count(self, header: Header) -> Verdict:
        if header.number != self.awaited:
            self.open = False
            return Verdict.BROKEN
        self.awaited += 1
        return Verdict.NEW if header.number == 0 else Verdict.NEXT

    def _start(self, session: int) -> None:
        self.session = session
        self.open = True
        self.begun += 1
        self.sent = 0
        self.awaited = 0

    def look(self) -> int:
        """Count a look whether the peer is silent; give how many there were since it was heard."""
        self.looks += 1
        return self.looks

    def close(self) -> None:
        """End the session: the peer is silent, a queue overflowed, or this process was frozen."""
        self.open = False

    def _forget(self) -> None:
        """The peer is a new one: it knows no session, and an initiator may count from 1 again."""
        self.open = False
        if not self.initiates:
            self.session = 0

    def next_header(self, own_name: str, own_incarnation: str, own_term: int) -> Header:
        """Give the header of the next batch to send, which is counted as sent.

        Without an open session it is a hello (session 0). Its number is then the
        session a follower wants ended; 0 is a mere sign of life.
        """
        session, number = 0, 0 if self.initiates else self.session
        if self.open:
            session, number = self.session, self.sent
            self.sent += 1
        return Header(own_name, own_incarnation, own_term, self.incarnation, self.term, session, number)
