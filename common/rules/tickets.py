"""Which of the dispatcher's tickets were used: each is good for one login.

A nonce is remembered for `seconds` at least. Two sets take turns: what is used goes into
the young one, and once that is `seconds` old it becomes the old one, which is dropped.
So there is never more in memory than the logins with a ticket of twice that time.

Source: docs/api.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.errors import Unauthorized


class UsedTickets:
    """The tickets used at one session process.

    Args:
        seconds: how long a ticket lasts.
        since: unix seconds this process began; what was issued before may have been used
            in a life nobody remembers, and is refused.
    """

    def __init__(self, seconds: float, since: float) -> None:
        self._seconds = seconds
        self._since = since
        self._turned_at = since
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def check(self, ticket: Sequence[Any]) -> None:
        """Pass silently when a ticket may be used, or none came.

        Args:
            ticket: (nonce, unix seconds of its end), () for none.

        Raises:
            Unauthorized: it was used, or that cannot be known.
        """
        if not ticket:
            return
        nonce, exp = ticket
        if nonce in self._young or nonce in self._old:
            raise Unauthorized("the ticket was used")
        if exp - self._seconds < self._since:
            raise Unauthorized("the ticket is older than the process that counts them; ask for another")

    def use(self, ticket: Sequence[Any], now: float) -> None:
        """Remember that a ticket, if one came, is used up."""
        if not ticket:
            return
        if now - self._turned_at > self._seconds:
            self._young, self._old = set(), self._young
            self._turned_at = now
        self._young.add(ticket[0])
