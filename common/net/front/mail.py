"""Kept messages on their way to and from the devices of this gateway.

    login     session opened it ─▶ mailbox read from the device's position ─▶ welcome, backlog
    live      session: `kept` ─▶ next in the stream: written; a hole before it: mailbox read
    acks      see common/net/front/acks.py
    stream    with a session begun anew: all its users' mailboxes are read again

A login is registered with session before its mailbox is read, and a sender appends
before it asks session, so one of the two sees the other. Reads gather: a few greenlets
take what has come and ask a dbserver once for many devices.

Source: docs/protocol.md, section 6, inbox; docs/architecture.md, the path of a message.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gevent.event import Event

from common.errors import BadField, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.front.acks import Acks
from common.net.front.box import Box, Receipt, Welcome, unpack_letter
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.tasks import Tasks
from common.rules.inbox import Inbox, Verdict
from common.wire.batch import pack_item
from common.wire.codec import inbox_frame
from common.wire.names import uid_of

if TYPE_CHECKING:
    from common.net.front.connection import Connection
    from common.net.links import Links

READERS = 4
READ_AT_ONCE = 64
"""Devices one call reads for."""
AGAIN_SECONDS = 1.0
UNTOLD_ITEMS = 10_000
UNTOLD_SECONDS = 60.0
COUNTERS = {
    "kept_written": "kept messages written to devices",
    "kept_reads": "mailboxes read",
    "kept_acks": "acks taken",
    "kept_untold": "kept messages whose receivers' session could not be told at once",
}


class Mail:
    """The mailboxes of this gateway's connections.

    Args:
        dbservers: the store. links: the way to sessions. tasks: owner of the greenlets.
    """

    def __init__(self, dbservers: Dbservers, links: Links, tasks: Tasks, counters: Counters) -> None:
        self._dbservers = dbservers
        self._links = links
        self._tasks = tasks
        self._counters = counters
        self._log = get_log()
        self._wanted: dict[Connection, None] = {}
        self._wake = Event()
        self._failed: dict[Connection, None] = {}
        self._acks = Acks(dbservers)
        self._untold: list[tuple[float, str, bytes]] = []

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
        """Have a connection's mailbox read soon."""
        self._wanted[connection] = None
        self._wake.set()

    def read_all(self, connections: Sequence[Connection]) -> None:
        """Read the mailboxes of all these again: something may have passed them by."""
        for connection in connections:
            if connection.box is not None and connection.box.loaded:
                connection.box.seq.behind = connection.box.bseq.behind = True
                self.want(connection)

    def _read_loop(self) -> None:
        while True:
            self._wake.wait()
            batch: list[Connection] = []
            while self._wanted and len(batch) < READ_AT_ONCE:
                connection, _ = self._wanted.popitem()
                if not connection.closed and connection.box is not None and connection.box.wants_read:
                    batch.append(connection)
            if not self._wanted:
                self._wake.clear()
            if batch:
                self._read(batch)

    def _read(self, batch: list[Connection]) -> None:
        rows = [_row(connection) for connection in batch]
        self._counters.kept_reads += len(rows)
        try:
            pages = self._dbservers.call("mail_load_many", rows)
        except RequestError as error:
            self._log.debug("mailboxes not read", error=error.message)
            for connection in batch:
                self._read_failed(connection)
            return
        for connection, page in zip(batch, pages, strict=True):
            if not connection.closed:
                self._take_page(connection, page)

    def _read_failed(self, connection: Connection) -> None:
        box = connection.box
        assert box is not None
        box.seq.read_failed()
        box.bseq.read_failed()
        if box.welcome is not None:
            welcome, box.welcome = box.welcome, None
            welcome(None)
        self._failed[connection] = None

    def _take_page(self, connection: Connection, page: list[Any]) -> None:
        """Write what a read gave; the first read also gives the device's positions."""
        box = connection.box
        assert box is not None
        messages, broadcasts, gap, more, seq, bseq, acked, backed = page
        if not box.loaded:
            box.loaded = True
            box.seq, box.bseq = _from(acked, box.seq), _from(backed, box.bseq)
            box.bseq_told = backed
            if box.welcome is not None:
                welcome, box.welcome = box.welcome, None
                welcome({"seq": acked, "bseq": backed, "gap": gap})
        for number, mid, body in messages:
            self._write(connection, mid, body, seq=number, gap=gap)
            gap = False
        for number, mid, body in broadcasts:
            self._write(connection, mid, body, bseq=number, gap=gap)
            gap = False
        box.seq.read_ended([(number, len(body)) for number, _, body in messages], more)
        box.bseq.read_ended([(number, len(body)) for number, _, body in broadcasts], more)
        box.seq.pass_over(seq)
        box.bseq.pass_over(bseq)
        if box.wants_read:
            self.want(connection)

    def _write(
        self,
        connection: Connection,
        mid: int,
        body: bytes,
        seq: int | None = None,
        bseq: int | None = None,
        gap: bool = False,
    ) -> None:
        letter = unpack_letter(body)
        self._counters.kept_written += 1
        connection.send(inbox_frame(mid, letter.uid, letter.data, letter.time, seq, bseq, gap))
        if letter.receipt and seq is not None and connection.box is not None:
            receipts = connection.box.receipts = connection.box.receipts or []
            receipts.append(Receipt(seq, mid, letter.uid))

    # live

    def live(self, connection: Connection, seq: int, prev: int, mid: int, body: bytes) -> None:
        """Take the live copy of a kept message."""
        box = connection.box
        if box is None:
            return
        verdict = box.seq.live(seq, prev, len(body)) if box.loaded else Verdict.READ
        if verdict is Verdict.SEND:
            self._write(connection, mid, body, seq=seq)
        elif verdict is Verdict.READ:
            self._read_later(connection, box.seq)

    def live_broadcast(self, connection: Connection, mid: int, body: bytes, bseq: int, prev: int) -> None:
        """Take the live copy of a kept broadcast."""
        box = connection.box
        if box is None:
            return
        verdict = box.bseq.live(bseq, prev, len(body)) if box.loaded else Verdict.READ
        if verdict is Verdict.SEND:
            self._write(connection, mid, body, bseq=bseq)
        elif verdict is Verdict.READ:
            self._read_later(connection, box.bseq)

    def _read_later(self, connection: Connection, inbox: Inbox) -> None:
        inbox.behind = True
        if inbox.wants_read:
            self.want(connection)

    # sending

    def tell(self, session: str, rows: list[list[Any]], mid: int, body: bytes) -> None:
        """Have a session told of a stored message as soon as it can be; it could not be asked now."""
        self._counters.kept_untold += 1
        if len(self._untold) >= UNTOLD_ITEMS:
            self._log.error("too many kept messages wait to be told", session=session)
            return
        self._untold.append((time.monotonic(), session, pack_item(["keep", 0, rows, mid, body])))

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
        for name, number, inbox in (("seq", seq, box.seq), ("bseq", bseq, box.bseq)):
            if number is not None and number > inbox.sent:
                self._ack_unsent(connection, name, number)
        moved = (seq is not None and box.seq.ack(seq)) | (bseq is not None and box.bseq.ack(bseq))
        if not moved:
            return
        self._counters.kept_acks += 1
        self._acks.moved(connection)
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
        product, uid = connection.user.partition("/")[0], uid_of(connection.user)
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
        if box.welcome is not None:
            box.welcome(None)
        self._acks.ended(connection, box)

    # again

    def _again(self) -> None:
        """Each second: read again what could not be read, tell again what could not be told."""
        failed, self._failed = self._failed, {}
        for connection in failed:
            self.want(connection)
        limit = time.monotonic() - UNTOLD_SECONDS
        self._untold = [
            (since, session, item)
            for since, session, item in self._untold
            if since > limit and not self._links.send(session, item)
        ]


def _row(connection: Connection) -> list[Any]:
    """Give the row of `mail_load_many` that a connection needs now."""
    box = connection.box
    assert box is not None
    after, bafter = box.seq.read_began(), box.bseq.read_began()
    count, size = box.seq.space()
    if not box.loaded:
        return [connection.user, connection.device, None, None, count, size, True]
    return [connection.user, connection.device, after, bafter, max(1, count), max(1, size), False]


def _from(acked: int, before: Inbox) -> Inbox:
    """Give a stream at a device's stored position; what came live meanwhile is still to be read."""
    inbox = Inbox(acked)
    inbox.behind = before.behind
    inbox.reading = True
    return inbox
