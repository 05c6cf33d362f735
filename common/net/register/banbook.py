"""The bans of the products whose users are here: read at the first of them, then every minute.

    first login of a product ─▶ wait ─▶ bans read, or storage away ─▶ go on
    ban, unban (from center, which stored it) ─▶ known at once

Storage away does not keep anybody out: who turns out to be banned afterwards is then
named to `banned`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gevent.event import Event

from common.errors import RequestError
from common.net.dbclient import Dbservers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.pace import in_slices
from common.rules.bans import Bans

READ_SECONDS = 1.0
"""Longest that one dbserver is waited for: a first login of the product waits for it."""
AGAIN_SECONDS = 1.0
"""Between two tries to read what could not be read."""

Then = Callable[[], None]


class _Waiting:
    """A login that waits: through which gateway it came, and how it goes on."""

    __slots__ = ("gateway", "then")

    def __init__(self, gateway: str, then: Then) -> None:
        self.gateway = gateway
        self.then = then


class BanBook:
    """Reads bans from storage.

    Args:
        dbservers: the store.
        every: seconds between two reads of a product's bans.
        owns: tells whether a user ("product/uid") is one of this process.
        banned: called with users that a read turned out to be banned.
        now: unix ms.
    """

    def __init__(
        self,
        dbservers: Dbservers,
        every: float,
        owns: Callable[[str], bool],
        banned: Callable[[list[str]], None],
        now: Callable[[], int],
    ) -> None:
        self.bans = Bans()
        self._dbservers = dbservers
        self._every = every
        self._owns = owns
        self._banned = banned
        self._now = now
        self._due: dict[str, float] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._wake = Event()
        self._failures = Doubling()
        self._log = get_log()

    def meet(self, product: str) -> None:
        """Users of a product are here: its bans are read, if they were not."""
        if product not in self._due:
            self._due[product] = 0.0
            self._waiting[product] = []
            self._wake.set()

    def waits(self, product: str, gateway: str, then: Then) -> bool:
        """Say whether a login must wait for the first read of its product's bans; `then` goes on."""
        self.meet(product)
        waiting = self._waiting.get(product)
        if waiting is None:
            return False
        waiting.append(_Waiting(gateway, then))
        return True

    def begun(self, gateway: str) -> None:
        """The stream of a gateway began anew: logins that came by the one before are void."""
        for product, waiting in self._waiting.items():
            self._waiting[product] = [one for one in waiting if one.gateway != gateway]

    def run(self) -> None:
        """Read what is due, for ever."""
        while True:
            self._wake.wait(AGAIN_SECONDS)
            self._wake.clear()
            self.step(time.monotonic())

    def step(self, now: float) -> None:
        """Read the bans of each product that is due; switches greenlets."""
        for product in [name for name, due in self._due.items() if due <= now]:
            self._due[product] = now + (self._every if self._read(product) else AGAIN_SECONDS)
            for one in self._waiting.pop(product, ()):
                one.then()

    def _read(self, product: str) -> bool:
        """Read a product's bans; False when storage is away."""
        self.bans.begin(product)
        try:
            stored = self._dbservers.call("bans", product, timeout=READ_SECONDS)
        except RequestError as error:
            self.bans.failed(product)
            if self._failures.hit():
                self._log.warning("bans not read", product=product, error=str(error))
            return False
        named = ((f"{product}/{uid}", until) for uid, until in in_slices(stored.items()))
        own = {user: until for user, until in named if self._owns(user)}
        banned = self.bans.read(product, own, self._now())
        if banned:
            self._banned(banned)
        return True
