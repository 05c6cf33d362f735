"""The delivery ledger: what became of a kept message, for each receiver and device.

    db_ledger:<mid>   hash, expires   /product /sender /time /expires, /bseq of a broadcast;
                                      uid -> seq; /acked, /written: counts of a broadcast;
                                      uid/device -> reason it never had it, uid/ without a device

Names have no `/`, so fields never meet. Where a receiver's positions tell, nothing is
written: one command per 500 receivers when a message is stored, one more only when it
is dropped unread.

    written   given to the device        acked     its position is past it
    stored    waits for the device       expired   its ttl ended first
    dropped   why: trimmed (newer ones pushed it out), away (for longer than the mailbox
              waits), unacked (left over too many connections)

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from common.errors import NotFound
from common.net.devices import Device, read_meta
from common.net.mailbox import Note, meta_key
from common.net.store import Argument, Script, Store, value
from common.wire.names import uid_of

Row = list[Any]
"""[uid, seq, state, [[device, state, why], …]]; why is "" unless dropped. state is that of a user
without devices, "" where the devices tell."""


class Head(NamedTuple):
    """What is common to all receivers; times in ms, bseq 0 = no broadcast."""

    product: str
    sender: str
    time: int
    expires: int
    bseq: int = 0


def add_script(mid: int, head: Head, rows: Sequence[tuple[str, int]], lasts_ms: int) -> Script:
    """Give the command that writes head and (uid, seq) rows; a repeat changes nothing."""
    fields: list[Argument] = []
    for name, content in head._asdict().items():
        fields += [f"/{name}", content]
    flat = [field for row in rows for field in row]
    return Script("ledger_add", (_key(mid),), (lasts_ms, len(Head._fields), *fields, *flat))


def note_scripts(user: str, notes: Iterable[Note]) -> list[Script]:
    """Give the commands that say why devices of a user never had a message."""
    uid = uid_of(user)
    scripts = []
    for note in notes:
        fields = [field for name in note.devices or ("",) for field in (f"{uid}/{name}", note.reason)]
        scripts.append(Script("ledger_note", (_key(note.mid),), ("", 0, *fields)))
    return scripts


def count_script(mid: int, what: str, count: int) -> Script:
    """Give the command that adds to a broadcast's `acked` or `written`."""
    return Script("ledger_note", (_key(mid),), (f"/{what}", count))


def read(
    store: Store, product: str, mid: int, after: str | None, limit: int, user: str | None, now_ms: int
) -> tuple[dict[str, Any], list[Row], str | None]:
    """Give head, a page of rows in order of uid, and where the next page begins (None: the end).

    Three round trips; a page of a multicast also reads the names of all its receivers.

    Args:
        after: the uid the page follows.
        limit: users in a page.
        user: product/uid, that one alone; the only way to rows of a broadcast.

    Raises:
        NotFound: no such message in this product, or not known any more.
    """
    counts = ("/acked", "/written")
    names = [f"/{name}" for name in Head._fields]
    stored = store.call("HMGET", _key(mid), *names, *counts)
    if stored[0] is None or stored[0].decode() != product:
        raise NotFound("no such message, or it is no longer known", mid=mid)
    head = Head(product, stored[1].decode(), *(int(text) for text in stored[2:5]))
    facts: dict[str, Any] = {**head._asdict(), "acked": int(stored[5] or 0), "written": int(stored[6] or 0)}
    if user is not None:
        uids, following = [uid_of(user)], None
    elif head.bseq:
        uids, following = [], None
    else:
        uids, following = _page(store, mid, after, limit)
    rows = [row for row in _rows(store, mid, head, uids, now_ms) if row is not None]
    return facts, rows, following


def _page(store: Store, mid: int, after: str | None, limit: int) -> tuple[list[str], str | None]:
    fields = (name.decode() for name in store.call("HKEYS", _key(mid)))
    uids = sorted(name for name in fields if "/" not in name and (after is None or name > after))
    return uids[:limit], uids[limit - 1] if len(uids) > limit else None


def _rows(store: Store, mid: int, head: Head, uids: list[str], now_ms: int) -> list[Row | None]:
    if not uids:
        return []
    metas = [("HGETALL", meta_key(f"{head.product}/{uid}")) for uid in uids]
    seqs, *flats = (value(reply) for reply in store.run([("HMGET", _key(mid), *uids), *metas]))
    devices = [read_meta(flat).devices for flat in flats]
    names = [f"{uid}/{name}" for uid, known in zip(uids, devices, strict=True) for name in ("", *known)]
    noted = iter([text and text.decode() for text in store.call("HMGET", _key(mid), *names)])
    rows: list[Row | None] = []
    for uid, seq, known in zip(uids, seqs, devices, strict=True):
        notes = dict(zip(("", *known), islice(noted, 1 + len(known)), strict=True))
        rows.append(_row(head, uid, None if seq is None else int(seq), known, notes, now_ms))
    return rows


def _row(
    head: Head,
    uid: str,
    seq: int | None,
    devices: dict[str, Device],
    notes: dict[str, str | None],
    now_ms: int,
) -> Row | None:
    """Give a user's row; None where the message was not for this user."""
    if seq is None and not head.bseq:
        return None
    states = []
    for name, device in sorted(devices.items()):
        if head.bseq:
            at, begin, position, given = head.bseq, device.bbegin, device.backed, 0
        else:
            at, begin, position, given = seq or 0, device.begin, device.acked, device.given
        if at > begin:
            states.append([name, *_state(at, position, given, notes[name], head.expires <= now_ms)])
    whole = "" if states else _state(1, 0, 0, notes[""], head.expires <= now_ms)[0]
    return [uid, seq or head.bseq, whole, states]


def _state(at: int, position: int, given: int, note: str | None, is_over: bool) -> tuple[str, str]:
    """Give (state, why) of a message at number `at` for a device at `position`."""
    if note == "expired":
        return "expired", ""
    if note:
        return "dropped", note
    if position >= at:
        return "acked", ""
    if is_over:
        return "expired", ""
    return ("written" if given >= at else "stored"), ""


def _key(mid: int) -> str:
    return f"db_ledger:{mid}"
