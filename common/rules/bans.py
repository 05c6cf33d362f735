"""Who is banned, as one session process knows it: a copy of what is stored, kept current.

    stored ── begin … read, once a minute ──▶ Bans ◀── ban, unban ── center, which stored it before
                                                └── check, at each login

What was said while a read was under way counts above what that read brought. A ban
whose time is over is none. Times are unix milliseconds, passed in.

Source: docs/protocol.md, section 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from common.errors import Unauthorized

FOREVER = 0
LAST_SECOND = 253_402_300_799
"""The last one a date can name (year 9999)."""


class Bans:
    """Bans of the users of one session process, product by product.

    A product is *known* once its bans have been read; until then nobody of it is banned
    but those named meanwhile.
    """

    def __init__(self) -> None:
        self._until: dict[str, dict[str, int]] = {}
        self._known: set[str] = set()
        self._changed: dict[str, dict[str, int | None]] = {}

    def __len__(self) -> int:
        """Users that are banned, or were until lately."""
        return sum(map(len, self._until.values()))

    def known(self, product: str) -> bool:
        """Say whether the bans of a product have been read."""
        return product in self._known

    def until(self, user: str, now: int) -> int | None:
        """Give until when a user is banned (0: for good); None for one who is not."""
        bans = self._until.get(user.partition("/")[0])
        until = bans.get(user) if bans else None
        return None if until is None or FOREVER < until <= now else until

    def check(self, user: str, now: int) -> None:
        """Pass silently when a user may log in.

        Raises:
            Unauthorized: banned; fact `until`, unix ms, 0 for good.
        """
        until = self.until(user, now)
        if until is not None:
            raise Unauthorized(words(until), until=until)

    def ban(self, user: str, until: int) -> None:
        """Note a ban; it takes the place of an earlier one."""
        self._note(user, until)

    def unban(self, user: str) -> None:
        """Note that a user is no longer banned."""
        self._note(user, None)

    def begin(self, product: str) -> None:
        """A read of a product's bans begins."""
        self._changed[product] = {}

    def read(self, product: str, bans: Mapping[str, int], now: int) -> list[str]:
        """Take all bans of a product as they were read; give the users banned who were not before."""
        stood = self._standing(product, now)
        self._until[product] = dict(bans)
        self._known.add(product)
        for user, until in self._changed.pop(product, {}).items():
            self._set(user, until)
        return [user for user in self._standing(product, now) if user not in stood]

    def failed(self, product: str) -> None:
        """The read that had begun brought nothing: what was known stays."""
        self._changed.pop(product, None)

    def _note(self, user: str, until: int | None) -> None:
        self._set(user, until)
        changed = self._changed.get(user.partition("/")[0])
        if changed is not None:
            changed[user] = until

    def _set(self, user: str, until: int | None) -> None:
        bans = self._until.setdefault(user.partition("/")[0], {})
        if until is None:
            bans.pop(user, None)
        else:
            bans[user] = until

    def _standing(self, product: str, now: int) -> set[str]:
        bans: Iterable[tuple[str, int]] = self._until.get(product, {}).items()
        return {user for user, until in bans if not FOREVER < until <= now}


def words(until: int) -> str:
    """Say in a sentence until when a user is banned."""
    if until == FOREVER:
        return "banned"
    seconds = min(until // 1000, LAST_SECOND)
    return f"banned until {datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
