"""Keeping what is sent: the order of writes, so that a repeat completes what was begun.

    receivers known? → key claimed → body → slots, in batches → ledger

Each step knows its own repeat: the key gives the mid first claimed, the mid the body and
the seq first given. So whoever got no answer sends again, with the same mid or the same
key, at any dbserver, and every receiver has the message once. Half a send is never
acknowledged.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from common.errors import BadField, NotFound
from common.net import broadcasts, idempotency, ledger, userbook
from common.net.bodies import Bodies, Origin
from common.net.mailbox import Gone, Mailboxes, Pushed, pushed, trimmed
from common.net.memory import Memory
from common.net.store import Script, Store, value
from common.settings import Mailbox
from common.wire.names import uid_of

TO_ALL = "/all"
"""Marks the keys of broadcasts: one said again for users is another message, not the same to all."""
LEDGER_ROWS = 500
"""Receivers one command writes to the ledger: bounds how long Redis is busy with it."""


class Letter(NamedTuple):
    """A message to keep.

    Args:
        product: of sender and receivers.
        sender: uid, "" for an application server.
        key: the sender's idempotency key, "" = none.
        mid: its number unless the key has one already.
        body: what devices get, opaque here.
        ttl: seconds; None for the longest.
        digest: of the request; tells a repeat from an id given twice.
    """

    product: str
    sender: str
    key: str
    mid: int
    body: bytes
    ttl: float | None
    digest: str | bytes


class Sent(NamedTuple):
    """A message kept: its mid, and by user seq and the number before it (seq - 1 for a repeat)."""

    mid: int
    seqs: dict[str, int]
    prevs: dict[str, int]


class Sender:
    """Keeps messages.

    Args:
        settings: limits.
        memory: refuses when Redis is too full.
    """

    def __init__(
        self, store: Store, settings: Mailbox, bodies: Bodies, mailboxes: Mailboxes, memory: Memory
    ) -> None:
        self._store = store
        self._settings = settings
        self._bodies = bodies
        self._mailboxes = mailboxes
        self._memory = memory

    def send(self, letter: Letter, users: Sequence[str], now_ms: int) -> Sent:
        """Keep a message for each user (product/uid).

        Raises:
            NotFound: fact `users`, uids nobody knows; nothing was stored.
            BadField: `to` or `ttl` out of bounds; nothing was stored.
            IdRepeated: the mid is another message's.
            Unavailable, DeadlineExceeded: some receivers may have it; repeat with the same mid or key.
        """
        users = list(dict.fromkeys(users))
        share = self._memory.admit()
        if not 1 <= len(users) <= self._settings.receivers:
            limit = self._settings.receivers
            raise BadField(f"a message goes to 1 to {limit} users", field="to", limit=limit)
        expires_ms = now_ms + self._lasts(letter)
        unknown = userbook.unknown(self._store, letter.product, users)
        if unknown:
            unknown = userbook.adopt(self._store, letter.product, unknown)
        if unknown:
            raise NotFound("some users do not exist", users=unknown)
        mid = self._place(letter, len(users) == 1)
        head = ledger.Head(letter.product, letter.sender, now_ms, expires_ms)
        pushes = [
            self._mailboxes.push_script(user, mid, expires_ms, max(len(letter.body), 1), now_ms)
            for user in users
        ]
        sent = dict(zip(users, map(pushed, self._in_batches(pushes)), strict=True))
        full = [user for user, one in sent.items() if one.is_over]
        trims = [self._mailboxes.trim_script(user, now_ms) for user in full]
        gone = dict(zip(full, map(trimmed, self._in_batches(trims)), strict=True))
        for reply in self._store.run(self._after(mid, head, sent, gone, share)):
            value(reply)
        seqs = {user: one.seq for user, one in sent.items()}
        return Sent(mid, seqs, {user: one.prev for user, one in sent.items()})

    def broadcast(self, letter: Letter, now_ms: int) -> tuple[int, int, int]:
        """Keep a message for every user of the product; give mid, bseq and the bseq before.

        The number of writes does not depend on how many users there are. Raises as `send`.
        """
        share = self._memory.admit()
        expires_ms = now_ms + self._lasts(letter)
        mid = self._place(letter, True, TO_ALL)
        kept = self._settings.broadcasts
        size = max(len(letter.body), 1)
        bseq, prev, gone = broadcasts.put(self._store, letter.product, mid, expires_ms, size, now_ms, kept)
        late: list[Script] = []
        if share < self._settings.ledger_share:
            head = ledger.Head(letter.product, letter.sender, now_ms, expires_ms, bseq)
            late.append(ledger.add_script(mid, head, (), self._ledger_ms()))
        late += self._bodies.drop_scripts(gone)
        for reply in self._store.run(late):
            value(reply)
        return mid, bseq, prev

    def _place(self, letter: Letter, is_single: bool, kind: str = "") -> int:
        """Claim the key and store the body; give the mid that stands."""
        name = f"{letter.product}/{letter.sender}{kind}"
        mid = letter.mid
        if letter.key:
            mid = idempotency.claim(self._store, name, letter.key, mid, self._settings.key_seconds)
        origin = Origin(name, letter.key, letter.digest)
        self._bodies.put(mid, origin, letter.body, is_single, self._lasts(letter))
        return mid

    def _in_batches(self, scripts: list[Script]) -> list[Any]:
        """Run many scripts; give the replies in order."""
        step = self._settings.batch
        batches = [scripts[begin : begin + step] for begin in range(0, len(scripts), step)]
        return [reply for batch in self._store.run_each(batches) for reply in batch]

    def _after(
        self, mid: int, head: ledger.Head, sent: dict[str, Pushed], gone: dict[str, Gone], share: float
    ) -> list[Script]:
        """Give what is left to write once all mailboxes have the message."""
        scripts: list[Script] = []
        if share < self._settings.ledger_share:
            rows = iter([(uid_of(user), one.seq) for user, one in sent.items()])
            while part := list(islice(rows, LEDGER_ROWS)):
                scripts.append(ledger.add_script(mid, head, part, self._ledger_ms()))
        mids = [left for one in gone.values() for left in one.mids]
        if not any(one.kept for one in sent.values()):
            mids.append(mid)
        for user, one in gone.items():
            scripts += ledger.note_scripts(user, one.notes)
        return scripts + self._bodies.drop_scripts(mids)

    def _lasts(self, letter: Letter) -> int:
        longest = self._settings.ttl
        ttl = longest if letter.ttl is None else letter.ttl
        if not 0 < ttl <= longest:
            raise BadField(f"ttl is above 0 and at most {longest:g} s", field="ttl", limit=longest)
        return max(int(ttl * 1000), 1)

    def _ledger_ms(self) -> int:
        return int(self._settings.ledger * 1000)
