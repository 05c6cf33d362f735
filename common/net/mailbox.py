"""A user's mailbox: the offline queue, the devices that read it, and how it is trimmed.

    db_slots:{product/uid}  list  `seq:mid:expire_ms:size`, ascending by seq
    db_smeta:{product/uid}  hash  seq, at (ms of the last push), run_id, bytes, dropped, cut (newest seq
                                  dropped alive), soonest (a lower bound of the expiries), lives (ms the
                                  keys last at least); p/<device>, s/<device>: positions and state of a
                                  device; t/<device>: tags; e/<device>: highest login epoch ended;
                                  x/<seq>: devices that gave it up
    db_smid:{product/uid}   zset  mid -> seq, the newest ones
    db_dead:{product/uid}   list  `seq:mid:expire_ms:size:reason:ms`

`seq` never goes back: a new mailbox begins at unix ms, and where Redis restarted the next
number jumps by 2^20 and the ms since the last push. A mid that is known keeps the seq first given.

This module packs arguments and reads replies; the rules are in the scripts. A call that
failed bears being repeated. Times are unix ms of the caller's clock.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from common.net.store import Script, Store, value
from common.settings import Mailbox


class Note(NamedTuple):
    """What became of a message: reason `trimmed`, `away`, `expired` or `unacked`.

    Args:
        devices: those that never had it; () where the user had no device at all.
    """

    mid: int
    reason: str
    devices: tuple[str, ...]


class Pushed(NamedTuple):
    """Where a message went.

    Args:
        seq: its number.
        prev: the number given before it; seq - 1 for a repeat, whose neighbour is not looked up.
        kept: it may still be in the mailbox.
        is_over: the mailbox is above its limits, see `trim_script`.
    """

    seq: int
    prev: int
    kept: bool
    is_over: bool


class Gone(NamedTuple):
    """Slots that left: their mids, and what to say of those that somebody never had."""

    mids: tuple[int, ...] = ()
    notes: tuple[Note, ...] = ()


class Loaded(NamedTuple):
    """What a device reads.

    Args:
        acked, backed: its positions; backed 0: it has none yet, see `begin`.
        gap: something after the position asked for was dropped.
        more: more follows after `seq`.
        seq: where to go on from.
        slots: (seq, mid), ascending.
        given_up: the head this device was passed over, 0 = none.
        gone: what left with it.
    """

    acked: int
    backed: int
    gap: bool
    more: bool
    seq: int
    slots: list[tuple[int, int]]
    given_up: int
    gone: Gone


class Acked(NamedTuple):
    """What an ack did.

    Args:
        refused: "seq" or "bseq" where that was never given; nothing was changed.
        bseq_before, bseq: the device's broadcast position before and now.
        gone: what all devices have now; a note may also tell of what this device missed.
    """

    refused: str
    bseq_before: int = 0
    bseq: int = 0
    gone: Gone = Gone()


class Mailboxes:
    """The commands of mailboxes; those that end in `_script` go into a batch of the caller.

    Args:
        settings: limits.
        devices: how many of a user's devices are remembered.
    """

    def __init__(self, store: Store, settings: Mailbox, devices: int) -> None:
        self._store = store
        self._lasts = int(settings.ttl * 1000)
        self._away = int(settings.device_away * 1000)
        self._devices = devices
        self._dead_items = settings.dead_items
        self._heads = (settings.head_loads, int(settings.head_seconds * 1000))
        self._limits = (settings.items, settings.bytes, settings.known_mids, self._lasts)

    def push_script(self, user: str, mid: int, expires_ms: int, size: int, now_ms: int) -> Script:
        """Give the command that puts a message of `size` bytes into a mailbox; `pushed` reads its reply."""
        return Script("mail_push", _keys(user, "db_smid"), (mid, expires_ms, size, now_ms, *self._limits))

    def trim_script(self, user: str, now_ms: int) -> Script:
        """Give the command that makes room in a mailbox above its limits; `trimmed` reads its reply.

        Where it is not carried out the next push asks for it again.
        """
        items, size = self._limits[:2]
        return Script("mail_trim", _keys(user, "db_smid")[:2], (now_ms, items, size))

    def load_script(
        self,
        user: str,
        device: str,
        after: int | None,
        limit: int,
        max_bytes: int,
        is_login: bool,
        now_ms: int,
    ) -> Script:
        """Give the command that reads what follows `after` (None: the device's own position).

        `loaded` reads its reply.

        Args:
            limit, max_bytes: of what is given; one message is, however large.
            is_login: remembers the device, counts the head it left unacked, and passes over
                one it left too often. Otherwise nothing is written.
        """
        position = "" if after is None else after
        asked = (device, position, limit, max_bytes, int(is_login), now_ms)
        rules = (self._away, self._devices, *self._heads, self._dead_items, self._lasts)
        return Script("mail_load", _keys(user, "db_dead"), (*asked, *rules))

    def ack_script(
        self, user: str, device: str, seq: int | None, bseq: int | None, newest_bseq: int, now_ms: int
    ) -> Script:
        """Give the command that moves a device's positions up; `acked` reads its reply.

        Args:
            newest_bseq: the highest number that may have been given to a broadcast.
        """
        numbers = ("" if seq is None else seq, "" if bseq is None else bseq, newest_bseq)
        rules = (now_ms, self._away, self._devices, self._dead_items, self._lasts)
        return Script("mail_ack", _keys(user, "db_dead"), (device, *numbers, *rules))

    def seen_script(
        self, user: str, device: str, seen_ms: int, written: int | None = None, begin: int | None = None
    ) -> Script:
        """Give the command that notes a device is there; a device not known stays so.

        Args:
            written: the highest seq written to its connection.
            begin: the broadcast position it begins at, taken only where it has none.
        """
        numbers = ("" if written is None else written, "" if begin is None else begin)
        return Script("device_seen", (meta_key(user),), (device, seen_ms, *numbers, self._lasts))

    def mark_script(
        self, user: str, device: str, tags: Sequence[str] | None = None, ended: int | None = None
    ) -> Script:
        """Give the command that sets a device's tags and raises its highest login epoch ended.

        Args:
            device: ALL_DEVICES stands for an end of all logins of the user.
            tags: None leaves them.
            ended: None leaves it.
        """
        joined = "-" if tags is None else " ".join(tags)
        epoch = "" if ended is None else ended
        return Script("device_mark", (meta_key(user),), (device, joined, epoch, self._lasts))


def loaded(reply: Any) -> Loaded:
    """Read the reply to `load_script`; raise it if it is an error."""
    acked, backed, gap, more, seq, flat, given_up, gone, notes = value(reply)
    slots = [(number, int(mid)) for number, mid in zip(flat[::2], flat[1::2], strict=True)]
    return Loaded(acked, backed, bool(gap), bool(more), seq, slots, int(given_up or 0), _gone(gone, notes))


def pushed(reply: Any) -> Pushed:
    """Read the reply to `push_script`; raise it if it is an error."""
    seq, prev, flag = value(reply)
    if prev < 0:
        return Pushed(seq, seq - 1, bool(flag), False)
    return Pushed(seq, prev, True, bool(flag))


def trimmed(reply: Any) -> Gone:
    """Read the reply to `trim_script`; raise it if it is an error."""
    return _gone(*value(reply))


def acked(reply: Any) -> Acked:
    """Read the reply to `ack_script`; raise it if it is an error."""
    verdict, *rest = value(reply)
    if verdict != b"ok":
        return Acked(verdict.decode())
    before, now, gone, notes = rest
    return Acked("", before, now, _gone(gone, notes))


def meta_key(user: str) -> str:
    """Give the key of a mailbox's hash."""
    return f"db_smeta:{{{user}}}"


def newest_command(user: str) -> tuple[str, str, str]:
    """Give the command that reads the seq given last; None when there was none."""
    return "HGET", meta_key(user), "seq"


def dead(store: Store, user: str) -> list[tuple[int, int, str, int]]:
    """Give what a mailbox gave up, oldest first: (seq, mid, reason, ms)."""
    rows = [text.decode().split(":") for text in store.call("LRANGE", f"db_dead:{{{user}}}", 0, -1)]
    return [(int(seq), int(mid), reason, int(ms)) for seq, mid, _, _, reason, ms in rows]


def _keys(user: str, third: str) -> tuple[str, str, str]:
    return f"db_slots:{{{user}}}", meta_key(user), f"{third}:{{{user}}}"


def _gone(mids: list[bytes], notes: list[Any]) -> Gone:
    read = [Note(int(mid), why.decode(), tuple(names.decode().split())) for mid, why, names in notes]
    return Gone(tuple(map(int, mids)), tuple(read))
