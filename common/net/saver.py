"""The saver: calls that keep messages and give them back. Served by every dbserver.

    gateway, center ── mail_send, bcast_send ──▶ key, body, slots, ledger
    gateway ── mail_load, mail_ack, mail_seen ──▶ positions of devices
    center ── ledger, user_info, user_add, ban … ──▶ what is asked about it

All calls bear being repeated, at this dbserver or another one. user = product/uid.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from common.errors import BadField, DeadlineExceeded, Internal, Unavailable
from common.handlers import Handlers
from common.net import bans as banbook
from common.net import ledger as ledgers
from common.net import mailbox, userbook
from common.net.bodies import Bodies, IdRepeated
from common.net.memory import Memory
from common.net.receiving import Asked, Receiver
from common.net.sending import Letter, Sender
from common.net.store import Store, value
from common.rules.devices import ALL_DEVICES
from common.settings import Mailbox

SAVER = Handlers("saver rpc")
PAGE = 200
"""Most rows of a ledger in one answer."""


class Saver:
    """What the calls below work with.

    Args:
        devices: how many of a user's devices are remembered.
        on_repeated: told of a message id given twice; must end the process.
        clock: unix seconds.
    """

    def __init__(
        self,
        store: Store,
        settings: Mailbox,
        devices: int,
        on_repeated: Callable[[IdRepeated], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.on_repeated = on_repeated
        self._clock = clock
        self.bodies = Bodies(store, settings.body_cache_bytes)
        self.mailboxes = mailbox.Mailboxes(store, settings, devices)
        self.sender = Sender(store, settings, self.bodies, self.mailboxes, Memory(store, settings.full_share))
        self.receiver = Receiver(store, self.bodies, self.mailboxes)

    def now_ms(self) -> int:
        """Give unix ms."""
        return int(self._clock() * 1000)

    def repeated(self, error: IdRepeated) -> Internal:
        """Have the process end; give what the caller is told."""
        self.on_repeated(error)
        return Internal("a message id was given twice; see the log of the dbserver")


@SAVER.on("mail_send")
def mail_send(
    saver: Saver,
    product: str,
    sender: str,
    key: str,
    mid: int,
    body: bytes,
    users: list[str],
    ttl: float | None = None,
    digest: str | bytes = "",
) -> list[Any]:
    """Keep a message for users of the product, once each; contract: common/net/sending.py.

    Args:
        key: "" = none. A key known goes on with its first mid and body.
        ttl: seconds; None for the longest.
        digest: of the request; the same mid with another one ends this process.

    Returns:
        [mid, {user: seq}, {user: number given before; seq - 1 for a repeat}]

    Raises:
        Unavailable: some may have it; the same mid or key completes it.
    """
    if any(user.split("/")[0] != product for user in users):
        raise BadField("receivers are of the sender's product", field="to")
    try:
        letter = Letter(product, sender, key, mid, body, ttl, digest)
        return list(saver.sender.send(letter, users, saver.now_ms()))
    except IdRepeated as error:
        raise saver.repeated(error) from None
    except DeadlineExceeded as error:
        raise Unavailable(f"it may be kept; repeat it: {error.message}") from None


@SAVER.on("bcast_send")
def bcast_send(
    saver: Saver,
    product: str,
    sender: str,
    key: str,
    mid: int,
    body: bytes,
    ttl: float | None = None,
    digest: str | bytes = "",
) -> list[Any]:
    """Keep a message for all users of the product; give [mid, bseq, bseq before]. Raises as `mail_send`."""
    try:
        letter = Letter(product, sender, key, mid, body, ttl, digest)
        return list(saver.sender.broadcast(letter, saver.now_ms()))
    except IdRepeated as error:
        raise saver.repeated(error) from None
    except DeadlineExceeded as error:
        raise Unavailable(f"it may be kept; repeat it: {error.message}") from None


@SAVER.on("mail_body")
def mail_body(saver: Saver, mid: int) -> bytes | None:
    """Give the body that stands for a message; None once nobody waits for it."""
    return saver.bodies.get([mid]).get(mid)


@SAVER.on("mail_load")
def mail_load(
    saver: Saver,
    user: str,
    device: str,
    after: int | None,
    bafter: int | None,
    limit: int,
    max_bytes: int,
    counted: bool,
) -> list[Any]:
    """Give a device what follows its positions; contract: common/net/receiving.py, `load`.

    Args:
        after, bafter: None for the device's own; bafter -1: no broadcasts.
        counted: this is a login (`hello`), not paging.

    Returns:
        [[[seq, mid, body], …], [[bseq, mid, body], …], gap, more, seq, bseq, acked seq, acked bseq]
    """
    return mail_load_many(saver, [[user, device, after, bafter, limit, max_bytes, counted]])[0]


@SAVER.on("mail_load_many")
def mail_load_many(saver: Saver, rows: list[list[Any]]) -> list[list[Any]]:
    """Load for many devices in one call: the arguments of `mail_load` each, and what it gives.

    Raises:
        Unavailable, DeadlineExceeded: none of them is answered; those before the failure
            have counted as loads.
    """
    for row in rows:
        if row[4] < 1:
            raise BadField("limit is at least 1", field="limit")
    return [list(page) for page in saver.receiver.load_many([Asked(*row) for row in rows], saver.now_ms())]


@SAVER.on("mail_newest")
def mail_newest(saver: Saver, users: list[str]) -> list[Any]:
    """Give [[the newest seq of each mailbox, 0 = none yet, …], {product: its newest bseq}]."""
    return list(saver.receiver.newest(users))


@SAVER.on("mail_ack")
def mail_ack(saver: Saver, rows: list[list[Any]]) -> list[str]:
    """Move positions up: [user, device, seq or None, bseq or None] each.

    Returns:
        For each row "ok", or the field ("seq", "bseq") that was never given: `bad_field`.
    """
    return saver.receiver.ack(rows, saver.now_ms())


@SAVER.on("mail_seen")
def mail_seen(saver: Saver, rows: list[list[Any]]) -> None:
    """Note devices that are there: [user, device, seen_ms, highest seq written or None] each."""
    saver.receiver.seen(rows)


@SAVER.on("device_mark")
def device_mark(saver: Saver, rows: list[list[Any]]) -> None:
    """Set [user, device, tags or None, login epoch ended or None] each; None leaves what is there."""
    for reply in saver.store.run([saver.mailboxes.mark_script(*row) for row in rows]):
        value(reply)


@SAVER.on("logins_ended")
def logins_ended(saver: Saver, devices: list[list[str]]) -> list[int]:
    """Give for each [user, device] the highest login epoch that is over for good, 0 = none."""
    return userbook.logins_ended(saver.store, devices)


@SAVER.on("tags_of")
def tags_of(saver: Saver, devices: list[list[str]]) -> list[list[str] | None]:
    """Give the tags set for each [user, device], in order; None where none are."""
    return userbook.tags_of(saver.store, devices)


@SAVER.on("ledger")
def ledger(
    saver: Saver, product: str, mid: int, after: str | None = None, limit: int = 100, user: str | None = None
) -> list[Any]:
    """Say what became of a message; contract: common/net/ledger.py.

    Returns:
        [head, [[uid, seq, state, [[device, state, why], …]], …], uid the next page follows or None]

    Raises:
        NotFound: no such message in this product, or not known any more.
    """
    if user is not None and user.split("/")[0] != product:
        raise BadField("the user is of another product", field="uid")
    page = min(max(limit, 1), PAGE)
    return list(ledgers.read(saver.store, product, mid, after, page, user, saver.now_ms()))


@SAVER.on("bcast_written")
def bcast_written(saver: Saver, mid: int, connections: int) -> None:
    """Add to the number of connections a broadcast was written to."""
    value(saver.store.run([ledgers.count_script(mid, "written", connections)])[0])


@SAVER.on("user_add")
def user_add(saver: Saver, user: str) -> int:
    """Make a user without a login; give the join sequence."""
    return userbook.add(saver.store, user)


@SAVER.on("user_info")
def user_info(saver: Saver, user: str) -> dict[str, Any]:
    """Give what is stored of a user; `sequence` is None for one who does not exist."""
    about = userbook.about(saver.store, user)
    stored = about.mailbox
    return {
        "sequence": about.sequence,
        "seen": about.seen_ms,
        "online": about.online,
        "depth": about.depth,
        "bytes": stored.bytes if about.depth else 0,
        "dropped": stored.dropped,
        "seq": stored.seq,
        "devices": {name: device._asdict() for name, device in stored.devices.items()},
        "banned": banbook.of_users(saver.store, [user], saver.now_ms())[0],
    }


@SAVER.on("ban")
def ban(saver: Saver, user: str, until_ms: int) -> None:
    """Ban a user until then; 0: for good. None of its logins until now can be resumed any more."""
    banbook.ban(saver.store, user, until_ms)
    epoch = saver.now_ms() * 1000
    value(saver.store.run([saver.mailboxes.mark_script(user, ALL_DEVICES, None, epoch)])[0])


@SAVER.on("unban")
def unban(saver: Saver, user: str) -> bool:
    """Lift a ban; give whether there was one."""
    return banbook.unban(saver.store, user)


@SAVER.on("bans")
def bans(saver: Saver, product: str) -> dict[str, int]:
    """Give uid -> until ms (0 = for good) of the bans that hold."""
    return banbook.of_product(saver.store, product, saver.now_ms())


@SAVER.on("bans_of")
def bans_of(saver: Saver, users: list[str]) -> list[int | None]:
    """Give for each user until when the ban holds (0 = for good), None: not banned."""
    return banbook.of_users(saver.store, users, saver.now_ms())


@SAVER.on("dead")
def dead(saver: Saver, user: str) -> list[list[Any]]:
    """Give what a mailbox gave up, oldest first: [seq, mid, reason, ms] each."""
    return [list(row) for row in mailbox.dead(saver.store, user)]
