"""Acks of this gateway's devices on their way to storage: merged, many in one call.

An ack is cumulative, so of several the highest stands. Those of messages are told each
second, when 200 devices have some, and as soon as a connection that acked has ended. One
of broadcasts alone goes with the next of these, or after a minute: a broadcast to all
users would have all mailboxes written at once. What storage does not take is kept and
told later; if this gateway dies first, its devices get a little again and drop it by
number.

Source: docs/protocol.md, section 6, inbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any

from gevent import sleep
from gevent.event import Event

from common.errors import RequestError
from common.net.dbclient import Dbservers
from common.net.front.box import Box
from common.net.log import get as get_log
from common.net.pace import in_slices

if TYPE_CHECKING:
    from common.net.front.connection import Connection

SECONDS = 1.0
BROADCAST_SECONDS = 60.0
"""How long an ack of broadcasts alone waits for one of messages to go along with."""
WRITTEN_SECONDS = 2.0
"""How long a live message waits for its ack before storage is told that it was written."""
AT_ONCE = 200
"""Devices with acks that make a call due, and rows of one call."""
KEPT = 100_000
"""Devices whose acks may wait for storage; above it some get messages again."""
SETTLED_SECONDS = 60.0
"""A connection this old counts, when it never acked, towards giving its first message up."""

Rows = dict[tuple[str, str], list[Any]]
"""(user, device) -> row of `mail_ack` or `mail_seen`."""


class Acks:
    """What devices have acked and storage has not heard.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, dbservers: Dbservers, clock: Callable[[], float] = time.monotonic) -> None:
        self._dbservers = dbservers
        self._clock = clock
        self._log = get_log()
        self._moved: dict[Connection, float] = {}
        self._broadcasts: dict[Connection, float] = {}
        self._written: dict[Connection, float] = {}
        self._acks: Rows = {}
        self._seen: Rows = {}
        self._full = Event()

    def __len__(self) -> int:
        """Devices with acks that storage has not heard."""
        return len(self._moved) + len(self._broadcasts) + len(self._acks)

    def moved(self, connection: Connection, is_mail: bool) -> None:
        """A connection has acked something: messages, or broadcasts alone."""
        if not is_mail:
            if connection not in self._moved:
                self._broadcasts.setdefault(connection, self._clock() + BROADCAST_SECONDS)
            return
        self._broadcasts.pop(connection, None)
        self._moved[connection] = 0.0
        if len(self._moved) >= AT_ONCE:
            self._full.set()

    def written(self, connection: Connection) -> None:
        """A live message was written: unless it is acked soon, the ledger is to say so."""
        self._written.setdefault(connection, self._clock() + WRITTEN_SECONDS)

    def ended(self, connection: Connection, box: Box) -> None:
        """A connection is gone: what it acked is kept, what it was written, and that it was there."""
        if connection in self._moved or connection in self._broadcasts:
            self._moved.pop(connection, None)
            self._broadcasts.pop(connection, None)
            self._keep(_row(connection, box))
            self._full.set()
        owes = self._written.pop(connection, None) is not None and box.seq.sent > box.seq.acked
        if owes or (box.loaded and time.time() - connection.epoch / 1_000_000 >= SETTLED_SECONDS):
            self._note(connection, box)

    def run(self) -> None:
        """Tell storage, for ever."""
        while True:
            self._full.wait(SECONDS)
            self._full.clear()
            self.flush()

    def flush(self) -> None:
        """Tell storage all that is due; what it does not take is kept."""
        for waiting in (self._moved, self._broadcasts):
            for connection in self._due(waiting):
                if connection.box is not None:
                    self._keep(_row(connection, connection.box))
        for connection in self._due(self._written):
            if connection.box is not None and connection.box.seq.sent > connection.box.seq.acked:
                self._note(connection, connection.box)
        acks, self._acks = self._acks, {}
        for row in in_slices(self._tell("mail_ack", acks).values()):
            self._keep(row)
        seen, self._seen = self._seen, {}
        self._seen = self._tell("mail_seen", seen) | self._seen

    def _due(self, waiting: dict[Connection, float]) -> Iterator[Connection]:
        """Take out those whose time has come; others get their turn after each few hundred."""
        now = self._clock()
        while True:
            first = islice(waiting.items(), AT_ONCE)
            due = [connection for connection, _ in takewhile(lambda one: one[1] <= now, first)]
            for connection in due:
                del waiting[connection]
            yield from due
            if len(due) < AT_ONCE:
                return
            sleep(0)

    def _note(self, connection: Connection, box: Box) -> None:
        """Note for the next call that a device is, or was, there, and the newest number written to it."""
        key = connection.user, connection.device
        if key in self._seen or len(self._seen) < KEPT:
            self._seen[key] = [*key, int(time.time() * 1000), box.seq.sent or None]

    def _keep(self, row: list[Any]) -> None:
        """Keep an ack for the next call; of two for one device the higher numbers stand."""
        user, device, seq, bseq = row
        known = self._acks.get((user, device))
        if known is None and len(self._acks) >= KEPT:
            return
        _, _, old_seq, old_bseq = known or row
        highest = [max(filter(None, pair), default=None) for pair in ((seq, old_seq), (bseq, old_bseq))]
        self._acks[user, device] = [user, device, *highest]

    def _tell(self, method: str, rows: Rows) -> Rows:
        """Call with all rows, a part at a time; give those that were not taken."""
        waiting = list(rows.items())
        while waiting:
            part = waiting[:AT_ONCE]
            try:
                self._dbservers.call(method, [row for _, row in part])
            except RequestError as error:
                self._log.debug("positions not stored", method=method, error=error.message)
                break
            del waiting[: len(part)]
        return dict(waiting)


def _row(connection: Connection, box: Box) -> list[Any]:
    """Give the row of `mail_ack` for what a connection has acked."""
    bseq = box.bseq.acked if box.bseq.acked != box.bseq_told else None
    box.bseq_told = box.bseq.acked
    return [connection.user, connection.device, box.seq.acked or None, bseq]
