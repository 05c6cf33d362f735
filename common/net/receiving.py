"""Giving devices what was kept for them, and taking their acks.

Messages to the user and broadcasts of the product are two streams, each with a position
per device. A page gives messages first and broadcasts with what room is left.

Source: docs/storage.md, section 2; docs/protocol.md, section 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from common.net import broadcasts, ledger
from common.net.bodies import Bodies
from common.net.mailbox import Acked, Loaded, Mailboxes, Note, acked, loaded, newest_command
from common.net.store import Script, Store, value
from common.wire.names import product_of

NO_BROADCASTS = -1
"""As `bafter`: leave broadcasts out."""

Entry = list[Any]
"""[number, mid, body]"""


class Asked(NamedTuple):
    """What a device wants to read.

    Args:
        after, bafter: None for the device's own positions; NO_BROADCASTS for none.
        limit, max_bytes: of the page; at least one message is given.
        is_login: see Mailboxes.load_script.
    """

    user: str
    device: str
    after: int | None
    bafter: int | None
    limit: int
    max_bytes: int
    is_login: bool

    @property
    def product(self) -> str:
        """The user's product."""
        return self.user.split("/")[0]


class Inbox(NamedTuple):
    """A page of a device's two streams.

    Args:
        messages: by seq. broadcasts: by bseq.
        gap: something before the first of them was dropped.
        more: more follows after `seq` and `bseq`.
        acked, backed: the device's positions.
    """

    messages: list[Entry]
    broadcasts: list[Entry]
    gap: bool
    more: bool
    seq: int
    bseq: int
    acked: int
    backed: int


class Receiver:
    """Reads mailboxes and broadcast logs for devices."""

    def __init__(self, store: Store, bodies: Bodies, mailboxes: Mailboxes) -> None:
        self._store = store
        self._bodies = bodies
        self._mailboxes = mailboxes

    def load(
        self,
        user: str,
        device: str,
        after: int | None,
        bafter: int | None,
        limit: int,
        max_bytes: int,
        is_login: bool,
        now_ms: int,
    ) -> Inbox:
        """Give one page; see `load_many`."""
        return self.load_many([Asked(user, device, after, bafter, limit, max_bytes, is_login)], now_ms)[0]

    def load_many(self, rows: Sequence[Asked], now_ms: int) -> list[Inbox]:
        """Give a page for each device; one round trip when there is nothing, two or three else.

        Logins write, and what arrives at Redis together is written to disk together.
        """
        products = list(dict.fromkeys(row.product for row in rows))
        commands = [broadcasts.newest_command(product) for product in products]
        scripts = [self._mailboxes.load_script(*row[:3], *row[4:], now_ms) for row in rows]
        replies = self._store.run([*commands, *scripts])
        newest = {
            product: broadcasts.newest(value(reply))
            for product, reply in zip(products, replies, strict=False)
        }
        loads = [loaded(reply) for reply in replies[len(products) :]]
        self._write_late(rows, loads, newest, now_ms)
        bodies = self._bodies.get(mid for one in loads for _, mid in one.slots)
        loads = self._passed(rows, loads, bodies, now_ms)
        return [
            self._page(row, one, newest[row.product], bodies, now_ms)
            for row, one in zip(rows, loads, strict=True)
        ]

    def newest(self, users: Sequence[str]) -> tuple[list[int], dict[str, int]]:
        """Give the newest seq of each mailbox, 0 = none yet, and the newest bseq of their products.

        One round trip of plain reads: what most of many mailboxes have to say is that nothing is new.
        """
        products = list(dict.fromkeys(product_of(user) for user in users))
        commands = [broadcasts.newest_command(product) for product in products]
        replies = self._store.run([*commands, *map(newest_command, users)])
        answers = [value(reply) for reply in replies]
        bseqs = map(broadcasts.newest, answers[: len(products)])
        return [int(answer or 0) for answer in answers[len(products) :]], dict(
            zip(products, bseqs, strict=True)
        )

    def _passed(
        self, rows: Sequence[Asked], loads: list[Loaded], bodies: dict[int, bytes], now_ms: int
    ) -> list[Loaded]:
        """Leave out what was acked between the reads of slots and bodies: it is gone, but not lost.

        Acks of an earlier connection come late, by another dbserver perhaps.
        """
        short = [n for n, one in enumerate(loads) if any(mid not in bodies for _, mid in one.slots)]
        scripts = [
            self._mailboxes.load_script(rows[n].user, rows[n].device, None, 1, 1, False, now_ms)
            for n in short
        ]
        for n, reply in zip(short, self._store.run(scripts), strict=True):
            acked = loaded(reply).acked
            slots = [(seq, mid) for seq, mid in loads[n].slots if seq > acked or mid in bodies]
            loads[n] = loads[n]._replace(slots=slots, acked=acked)
        return loads

    def _write_late(
        self, rows: Sequence[Asked], loads: list[Loaded], newest: dict[str, int], now_ms: int
    ) -> None:
        """Write what the loads left to write: slots that went, where new devices begin."""
        late: list[Script] = []
        for row, one in zip(rows, loads, strict=True):
            late += self._left(row.user, row.device, one)
            if not one.backed and row.is_login:
                begin = newest[row.product]
                late.append(self._mailboxes.seen_script(row.user, row.device, now_ms, begin=begin))
        for reply in self._store.run(late):
            value(reply)

    def _page(self, row: Asked, one: Loaded, newest: int, found: dict[int, bytes], now_ms: int) -> Inbox:
        messages = [[seq, mid, found[mid]] for seq, mid in one.slots if mid in found]
        backed = one.backed or newest
        begin = backed if row.bafter is None else row.bafter
        page = self._broadcasts(row.product, begin, newest, messages, row.limit, row.max_bytes, now_ms)
        bodies = self._bodies.get(mid for _, mid in page.entries)
        is_short = len(messages) < len(one.slots) or len(bodies) < len(page.entries)
        return Inbox(
            messages,
            [[bseq, mid, bodies[mid]] for bseq, mid in page.entries if mid in bodies],
            one.gap or page.gap or is_short,
            one.more or page.more,
            one.seq,
            backed if row.bafter == NO_BROADCASTS else page.bseq,
            one.acked,
            backed,
        )

    def ack(self, rows: Sequence[Sequence[Any]], now_ms: int) -> list[str]:
        """Move positions up; give for each row "ok", or "seq" or "bseq" where that was never given.

        Two round trips for any number of rows, and up to three more where broadcasts are
        among them or slots are let go.

        Args:
            rows: [user, device, seq or None, bseq or None] each.
        """
        products = {row[0].split("/")[0] for row in rows if row[3] is not None}
        newest = broadcasts.bounds(self._store, products, now_ms) if products else {}
        scripts = [
            self._mailboxes.ack_script(user, device, seq, bseq, newest.get(user.split("/")[0], 0), now_ms)
            for user, device, seq, bseq in rows
        ]
        answers = [acked(reply) for reply in self._store.run(scripts)]
        late: list[Script] = []
        for row, answer in zip(rows, answers, strict=True):
            late += ledger.note_scripts(row[0], answer.gone.notes)
        late += self._bodies.drop_scripts(mid for answer in answers for mid in answer.gone.mids)
        late += self._counted(rows, answers)
        for reply in self._store.run(late):
            value(reply)
        return [answer.refused or "ok" for answer in answers]

    def seen(self, rows: Iterable[Sequence[Any]]) -> None:
        """Note devices that are there: [user, device, seen_ms, highest seq written or None] each."""
        for reply in self._store.run([self._mailboxes.seen_script(*row) for row in rows]):
            value(reply)

    def _left(self, user: str, device: str, loaded: Loaded) -> list[Script]:
        """Give what is left to write about slots that went at a login."""
        notes = list(loaded.gone.notes)
        if loaded.given_up:
            notes.append(Note(loaded.given_up, "unacked", (device,)))
        return ledger.note_scripts(user, notes) + self._bodies.drop_scripts(loaded.gone.mids)

    def _broadcasts(
        self,
        product: str,
        after: int,
        newest: int,
        messages: list[Entry],
        limit: int,
        max_bytes: int,
        now_ms: int,
    ) -> broadcasts.Page:
        """Give the broadcasts that fit beside `messages`."""
        if after == NO_BROADCASTS or newest <= after:
            return broadcasts.Page(False, False, after, [])
        room = limit - len(messages)
        if room < 1:
            return broadcasts.Page(False, True, after, [])
        left = max_bytes - sum(len(entry[2]) for entry in messages)
        return broadcasts.load(self._store, product, after, room, left, now_ms, not messages)

    def _counted(self, rows: Sequence[Sequence[Any]], answers: list[Acked]) -> list[Script]:
        """Give the commands that count how many devices acked which broadcast."""
        moves: dict[str, list[tuple[int, int]]] = {}
        for row, answer in zip(rows, answers, strict=True):
            if 0 < answer.bseq_before < answer.bseq:
                move = (answer.bseq_before, answer.bseq)
                moves.setdefault(row[0].split("/")[0], []).append(move)
        return [
            ledger.count_script(mid, "acked", count)
            for product, ranges in moves.items()
            for mid, count in broadcasts.passed(self._store, product, ranges).items()
        ]
