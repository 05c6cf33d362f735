"""A saver on a real Redis whose time stands still until a test moves it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from common.net import ledger, userbook
from common.net.receiving import Inbox
from common.net.saver import Saver
from common.net.sending import Letter, Sent
from common.net.store import Store
from common.settings import Mailbox

ALICE = "p/alice"
NOW_MS = 1_800_000_000_000
DAY = 86_400.0
LIVES = count(1)


class Post:
    """Sends, reads and acks at `now_ms`; keywords are settings of [mailbox].

    Args:
        devices: remembered of a user.
        users: made at the start; none where None.
    """

    def __init__(
        self, store: Store, devices: int = 16, users: Sequence[str] | None = (ALICE,), **settings: Any
    ) -> None:
        self.store = store
        self.now_ms = NOW_MS
        self.repeated: list[Exception] = []
        self.saver = Saver(
            store, Mailbox(**settings), devices, self.repeated.append, lambda: (self.now_ms + 0.5) / 1000
        )
        self._mids = count(1)
        if users:
            userbook.note(store, [[user, 1, 0] for user in users])

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += int(seconds * 1000)

    def letter(
        self,
        body: str | bytes = b"x",
        key: str = "",
        mid: int | None = None,
        ttl: float | None = None,
        digest: str | None = None,
        product: str = "p",
        sender: str = "bob",
    ) -> Letter:
        """Make a message; its digest is its body's text unless given."""
        packed = body.encode() if isinstance(body, str) else body
        number = next(self._mids) if mid is None else mid
        text = packed[:20].decode() if digest is None else digest
        return Letter(product, sender, key, number, packed, ttl, text)

    def send(self, body: str | bytes = b"x", *users: str, **about: Any) -> Sent:
        """Keep a message, for alice unless users are named."""
        letter = self.letter(body, **about)
        return self.saver.sender.send(letter, users or (ALICE,), self.now_ms)

    def sends(self, *bodies: str, **about: Any) -> list[int]:
        """Keep messages for alice; give their seqs."""
        return [self.send(body, **about).seqs[ALICE] for body in bodies]

    def broadcast(self, body: str | bytes = b"x", **about: Any) -> tuple[int, int, int]:
        """Keep a broadcast."""
        return self.saver.sender.broadcast(self.letter(body, **about), self.now_ms)

    def login(self, device: str = "phone", user: str = ALICE, limit: int = 1_000, **asked: Any) -> Inbox:
        """Read as a device does at hello."""
        return self.load(device, user, limit, is_login=True, **asked)

    def load(
        self,
        device: str = "phone",
        user: str = ALICE,
        limit: int = 1_000,
        after: int | None = None,
        bafter: int | None = None,
        max_bytes: int = 10_000_000,
        is_login: bool = False,
    ) -> Inbox:
        """Read a page."""
        asked = (user, device, after, bafter, limit, max_bytes, is_login)
        return self.saver.receiver.load(*asked, self.now_ms)

    def ack(
        self, device: str = "phone", seq: int | None = None, bseq: int | None = None, user: str = ALICE
    ) -> str:
        """Ack; give "ok" or the refused field."""
        (status,) = self.saver.receiver.ack([[user, device, seq, bseq]], self.now_ms)
        return status

    def seen(self, device: str = "phone", written: int | None = None, user: str = ALICE) -> None:
        """Tell that a device is there now."""
        self.saver.receiver.seen([[user, device, self.now_ms, written]])

    def connect(self, seconds: float, device: str = "phone") -> Inbox:
        """Log in, stay for a while without an ack, leave."""
        inbox = self.login(device)
        self.sleep(seconds)
        self.seen(device)
        return inbox

    def kept(self, user: str = ALICE) -> list[int]:
        """Give the seqs in the mailbox."""
        slots = self.store.call("LRANGE", f"db_slots:{{{user}}}", 0, -1)
        return [int(slot.split(b":")[0]) for slot in slots]

    def meta(self, field: str, user: str = ALICE) -> int:
        """Give a number of the mailbox's hash, 0 without it."""
        return int(self.store.call("HGET", f"db_smeta:{{{user}}}", field) or 0)

    def has_body(self, mid: int) -> bool:
        """Say whether Redis keeps a body."""
        return bool(self.store.call("HEXISTS", f"db_buckets:{mid >> 10}", mid))

    def restart(self, forget: Sequence[str] = ()) -> None:
        """Make the scripts see another life of Redis, with a shorter memory."""
        if forget:
            self.store.call("DEL", *forget)
        lives = self.store._run_ids
        self.store.run_id = f"life-{next(LIVES)}"
        for connection in lives:
            lives[connection] = self.store.run_id

    def states(self, mid: int, user: str | None = None) -> dict[str, Any]:
        """Give uid -> {device: state or (state, why)}, or the user's own state."""
        _, rows, _ = ledger.read(self.store, "p", mid, None, 100, user, self.now_ms)
        return {
            uid: whole or {name: (state, why) if why else state for name, state, why in states}
            for uid, _, whole, states in rows
        }


def texts(inbox: Inbox) -> list[str]:
    """Give the bodies of the messages."""
    return [body.decode() for _, _, body in inbox.messages]


def shouts(inbox: Inbox) -> list[str]:
    """Give the bodies of the broadcasts."""
    return [body.decode() for _, _, body in inbox.broadcasts]
