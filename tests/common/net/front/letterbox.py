"""A dbserver's mailboxes in memory: what gateways ask of them, answered by the same rules."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgpack

from common.errors import Unavailable
from common.net.front.box import Letter, pack_letter

Entry = list[Any]


class Letterbox:
    """Stands for all dbservers: `site.calls = letterbox`.

    Attributes:
        messages: by user ("product/uid"), of [seq, mid, body]. broadcasts: of all.
        positions: (user, device) -> [acked seq, acked bseq].
        gap: the next page says that something was dropped.
        away: nothing is answered.
        asked: rows of `mail_load_many`. acks: rows of `mail_ack`. seen: rows of `mail_seen`.
    """

    def __init__(self) -> None:
        self.messages: dict[str, list[Entry]] = {}
        self.broadcasts: list[Entry] = []
        self.positions: dict[tuple[str, str], list[int]] = {}
        self.gap = False
        self.away = False
        self.asked: list[list[Any]] = []
        self.acks: list[list[Any]] = []
        self.seen: list[list[Any]] = []
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._mids = count(1_000)

    def keep(
        self, data: Any, uid: str = "ann", receipt: bool = False, sender: str = "bob"
    ) -> tuple[int, int, int, bytes]:
        """Put a message into a mailbox; give its seq, the one before, mid and body."""
        return self._put(self.messages.setdefault(f"demo/{uid}", []), data, receipt, sender)

    def shout(self, data: Any) -> tuple[int, int, int, bytes]:
        """Keep a broadcast; give its bseq, the one before, mid and body."""
        return self._put(self.broadcasts, data, False)

    def _put(
        self, entries: list[Entry], data: Any, receipt: bool, sender: str = "bob"
    ) -> tuple[int, int, int, bytes]:
        before = entries[-1][0] if entries else 0
        body = pack_letter(Letter(sender, msgpack.packb(data), 5, receipt))
        entries.append([before + 2, next(self._mids), body])
        return before + 2, before, entries[-1][1], body

    def __call__(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        """Answer a call as a dbserver does."""
        if self.away:
            raise Unavailable("storage is away")
        self.calls.append((method, args))
        if method == "mail_load_many":
            self.asked += args[0]
            return [self._load(*row) for row in args[0]]
        if method == "mail_newest":
            return [
                [newest_of(self.messages.get(user, [])) for user in args[0]],
                {user.partition("/")[0]: newest_of(self.broadcasts) for user in args[0]},
            ]
        if method == "mail_ack":
            self.acks += args[0]
            return [self._ack(*row) for row in args[0]]
        if method == "mail_seen":
            self.seen += args[0]
        return None

    def _load(
        self,
        user: str,
        device: str,
        after: int | None,
        bafter: int | None,
        limit: int,
        max_bytes: int,
        is_login: bool,
    ) -> list[Any]:
        acked, backed = self.positions.setdefault((user, device), [0, 0])
        begins = (acked if after is None else after, backed if bafter is None else bafter)
        parts: list[list[Entry]] = []
        ends, more = list(begins), False
        for which, entries in enumerate((self.messages.get(user, []), self.broadcasts)):
            waiting = [entry for entry in entries if entry[0] > begins[which]]
            part = waiting[: limit - sum(map(len, parts))]
            more = more or len(part) < len(waiting)
            ends[which] = part[-1][0] if part else begins[which]
            parts.append(part)
        gap, self.gap = self.gap, False
        return [*parts, gap, more, *ends, acked, backed]

    def _ack(self, user: str, device: str, seq: int | None, bseq: int | None) -> str:
        position = self.positions.setdefault((user, device), [0, 0])
        for which, (number, entries) in enumerate(
            ((seq, self.messages.get(user, [])), (bseq, self.broadcasts))
        ):
            if number is not None and number > (entries[-1][0] if entries else 0):
                return ("seq", "bseq")[which]
            position[which] = max(position[which], number or 0)
        return "ok"


def newest_of(entries: list[Entry]) -> int:
    """Give the number given last, 0 = none."""
    return entries[-1][0] if entries else 0
