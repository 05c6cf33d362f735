"""Kept messages on their way to and from the devices of this gateway.

    login     session opened it ─▶ mailbox read from the device's position ─▶ welcome, backlog
    live      session: `kept` ─▶ next in the stream: written; a hole before it: mailbox read
    acks      see common/net/front/acks.py
    stream    with a session begun anew: its users' mailboxes that hold more than was sent are read

A login is registered with session before its mailbox is read, and a sender appends
before it asks session, so one of the two sees the other. Reads gather: the
first goes at once, and what comes behind it waits a moment, for one call to a dbserver to read all.

Source: docs/protocol.md, section 6, inbox; docs/architecture.md, the path of a message.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gevent import sleep
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from common.errors import BadField, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.front.acks import Acks
from common.net.front.box import Box, Letter, Receipt, Welcome, unpack_letter
from common.net.front.untold import Untold
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.tasks import Tasks
from common.rules.inbox import Verdict
from common.wire.batch import pack_item
from common.wire.codec import inbox_frame
from common.wire.names import product_of, uid_of

if TYPE_CHECKING:
    from common.net.front.connection import Connection
    from common.net.links import Links

READERS = 4
READ_AT_ONCE = 64
"""Devices one call reads for."""
GATHER_SECONDS = 0.02
"""How long devices gather for a call behind another one."""
AGAIN_SECONDS = 1.0
COUNTERS = {
    "kept_written": "kept messages written to devices",
    "kept_reads": "mailboxes read",
    "kept_acks": "acks taken",
}


class Mail:
    """The mailboxes of this gateway's connections.

    Args:
        dbservers: the store. links: the way to sessions. tasks: owner of the greenlets.
        counters: those of COUNTERS are declared in it.

    Attributes:
        untold: receivers whose session is to be told later.
    """

    def __init__(self, dbservers: Dbservers, links: Links, tasks: Tasks, counters: Counters) -> None:
        self._dbservers = dbservers
        self._links = links
        self._tasks = tasks
        counters.declare(COUNTERS)
        self._counters = counters
        self._log = get_log()
        self._wanted: OrderedDict[Connection, None] = OrderedDict()
        self._wake = Event()
        self._turn = BoundedSemaphore()
        self._called_at = 0.0
        self._failed: dict[Connection, None] = {}
        self._acks = Acks(dbservers)
        self.untold = Untold(links, counters)

    def start(self) -> None:
        """Begin to read, ack and tell."""
        for number in range(READERS):
            self._tasks.spawn(f"mail reader {number}", self._read_loop, core=True)
        self._tasks.spawn("mail acks", self._acks.run, core=True)
        self._tasks.every("mail again", AGAIN_SECONDS, self._again)

    # reading

    def begin(self, connection: Connection, welcome: Welcome) -> None:
        """A login was opened: read its mailbox, then call `welcome` and send the backlog."""
        connection.box = Box(welcome)
        self.want(connection)

    def want(self, connection: Connection) -> None:
        """Have a connection's mailbox read soon, after those that wait already."""
        self._wanted[connection] = None
        self._wake.set()

    def read_newer(self, connections: Sequence[Connection]) -> None:
        """Have those mailboxes read that hold more than was sent: something may have passed them by.

        One that is being read for the first time, of which nothing was sent, is read again behind that.

        Raises:
            Unavailable, DeadlineExceeded: storage does not say; nothing was done.
        """
        seqs, bseqs = self._dbservers.call("mail_newest", [connection.user for connection in connections])
        for connection, seq in zip(connections, seqs, strict=True):
            box = connection.box
            if box is None:
                continue
            bseq = bseqs[product_of(connection.user)]
            if seq > box.seq.sent or bseq > box.bseq.sent:
                box.behind = True
                if box.wants_read:
                    self.want(connection)

    def _read_loop(self) -> None:
        while True:
            with self._turn:
                batch = self._next_batch()
            self._read(batch)

    def _next_batch(self) -> list[Connection]:
        """Wait until mailboxes are to be read, and some time has passed since the last call for such."""
        batch: list[Connection] = []
        while not batch:
            self._wake.wait()
            wait = self._called_at + GATHER_SECONDS - time.monotonic()
            if wait > 0 and len(self._wanted) < READ_AT_ONCE:
                sleep(wait)
            self._called_at = time.monotonic()
            while self._wanted and len(batch) < READ_AT_ONCE:
                connection, _ = self._wanted.popitem(last=False)
                if not connection.closed and connection.box is not None and connection.box.wants_read:
                    batch.append(connection)
            if not self._wanted:
                self._wake.clear()
        return batch

    def _read(self, batch: list[Connection]) -> None:
        rows = [_row(connection) for connection in batch]
        self._counters.kept_reads += len(rows)
        try:
            pages = self._dbservers.call("mail_load_many", rows)
        except RequestError as error:
            self._log.debug("mailboxes not read", error=error.message)
            for connection in batch:
                if connection.box is not None:
                    self._read_failed(connection, connection.box)
            return
        for connection, page in zip(batch, pages, strict=True):
            if connection.box is not None:
                self._take_page(connection, connection.box, page)

    def _read_failed(self, connection: Connection, box: Box) -> None:
        box.read_failed()
        box.greet(None)
        self._failed[connection] = None

    def _take_page(self, connection: Connection, box: Box, page: list[Any]) -> None:
        """Write what a read gave; the first read also gives the device's positions."""
        messages, broadcasts, gap, more, seq, bseq, acked, backed = page
        is_told = not box.loaded and box.load(acked, backed, gap)
        box.gap = box.gap or gap
        for number, mid, body in messages:
            if box.seq.take(number, len(body)):
                self._write(connection, unpack_letter(body), mid, seq=number)
        for number, mid, body in broadcasts:
            if box.bseq.take(number, len(body)):
                self._write(connection, unpack_letter(body), mid, bseq=number)
        box.read_ended(seq, bseq, more)
        if is_told:
            box.gap = False
        if box.wants_read:
            self.want(connection)

    def _write(
        self,
        connection: Connection,
        letter: Letter,
        mid: int,
        seq: int | None = None,
        bseq: int | None = None,
    ) -> None:
        box = connection.box
        if box is None:  # what was written before ended the connection
            return
        self._counters.kept_written += 1
        gap, box.gap = box.gap, False
        if letter.receipt and letter.uid and seq is not None:
            receipts = box.receipts = box.receipts or []
            receipts.append(Receipt(seq, mid, letter.uid))
        connection.send(inbox_frame(mid, letter.uid, letter.data, letter.time, seq, bseq, gap))

    # live

    def live(self, rows: Sequence[tuple[Connection, int, int]], mid: int, body: bytes) -> None:
        """Take the live copies of a kept message: connection, seq, the number given before it.

        Args:
            body: b"" for a nudge, whose number before is its own: it is read, never written.
        """
        letter = unpack_letter(body) if body else None
        for connection, seq, prev in rows:
            box = connection.box
            if box is not None and self._judge(connection, box, seq, prev, len(body)) and letter is not None:
                self._write(connection, letter, mid, seq=seq)
                self._acks.written(connection)

    def _judge(self, connection: Connection, box: Box, seq: int, prev: int, size: int) -> bool:
        """Tell whether a live copy is to be written; one that is not may have the mailbox read."""
        verdict = box.live(box.seq, seq, prev, size) if box.loaded else _later(box)
        if verdict is Verdict.READ and box.wants_read:
            self.want(connection)
        return verdict is Verdict.SEND

    def live_broadcast(self, connection: Connection, frame: bytes, bseq: int, prev: int, size: int) -> None:
        """Take the live copy of a kept broadcast.

        Args:
            frame: encoded, the same for all connections.
            prev: the bseq given before it.
            size: of its body as stored.
        """
        box = connection.box
        if box is None:
            return
        if box.gap:  # the next message written must say so: have it read
            box.behind = True
        verdict = box.live(box.bseq, bseq, prev, size) if box.loaded else _later(box)
        if verdict is Verdict.SEND:
            self._counters.kept_written += 1
            connection.send(frame)
        elif verdict is Verdict.READ and box.wants_read:
            self.want(connection)

    # acks

    def ack(self, connection: Connection, seq: int | None, bseq: int | None) -> None:
        """Take a device's ack; told to the store later.

        Raises:
            BadField: a number was never given.
            Unavailable, DeadlineExceeded: storage is away, and the number is not one sent here.
        """
        box = connection.box
        if box is None or not box.loaded:
            raise Unavailable("the mailbox cannot be read now")
        for name, number, stream in (("seq", seq, box.seq), ("bseq", bseq, box.bseq)):
            if number is not None and number > stream.sent:
                self._ack_unsent(connection, name, number)
        is_mail = seq is not None and box.seq.ack(seq)
        if not (bseq is not None and box.bseq.ack(bseq)) and not is_mail:
            return
        self._counters.kept_acks += 1
        self._acks.moved(connection, is_mail)
        if box.receipts:
            self._give_receipts(connection, box)
        if box.wants_read:
            self.want(connection)

    def _ack_unsent(self, connection: Connection, name: str, number: int) -> None:
        """Ask the store about a number this connection was not sent: paging may have given it."""
        row: list[Any] = [connection.user, connection.device, None, None]
        row[2 if name == "seq" else 3] = number
        (answer,) = self._dbservers.call("mail_ack", [row])
        if answer != "ok":
            raise BadField(f"{name} was never given", field=name)

    def _give_receipts(self, connection: Connection, box: Box) -> None:
        receipts = box.receipts or []
        due = [receipt for receipt in receipts if receipt.seq <= box.seq.acked]
        box.receipts = receipts[len(due) :] or None
        product, uid = product_of(connection.user), uid_of(connection.user)
        now = int(time.time() * 1000)
        for receipt in due:
            sender = f"{product}/{receipt.sender}"
            session = connection.front.process.places.session_of(sender)
            item = ["receipt", sender, receipt.mid, uid, connection.device, now]
            self._links.send(session, pack_item(item))

    def ended(self, connection: Connection) -> None:
        """A connection is gone: its acks are still told."""
        box, connection.box = connection.box, None
        self._wanted.pop(connection, None)
        self._failed.pop(connection, None)
        if box is None:
            return
        box.greet(None)
        self._acks.ended(connection, box)

    # again

    def _again(self) -> None:
        """Each second: read again what could not be read, tell again what could not be told."""
        failed, self._failed = self._failed, {}
        for connection in failed:
            self.want(connection)
        self.untold.again()


def _row(connection: Connection) -> list[Any]:
    """Give the row of `mail_load_many` that a connection needs now."""
    box = connection.box
    assert box is not None
    after, bafter = box.read_began()
    count, size = box.space()
    if not box.loaded:
        return [connection.user, connection.device, None, None, count, size, True]
    return [connection.user, connection.device, after, bafter, count, size, False]


def _later(box: Box) -> Verdict:
    """Something came before the device's positions are known: it is read when they are."""
    box.behind = True
    return Verdict.READ
