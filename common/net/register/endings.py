"""Logins that were ended for good, by `bye` or a ban: none of them is resumed, also after a restart.

    bye ─▶ remembered here, written to storage soon
    resume of a login older than this process ─▶ wait ─▶ storage asked, or away ─▶ go on

This process remembers all that ended since it began. What ended before stands in storage
alone, and is asked for once. Storage away keeps nobody out. A ban is written by the
dbserver that stores it.

Source: docs/protocol.md, section 9; docs/storage.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from gevent import sleep
from gevent.event import Event

from common.errors import RequestError
from common.net.dbclient import Dbservers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.rules.presence import Presence

ROWS = 500
"""Devices one call speaks of."""
GATHER_SECONDS = 0.01
CALL_SECONDS = 1.0
"""Longest that one dbserver is waited for: a login waits for it."""
AGAIN_SECONDS = 1.0
"""Between two tries to write what could not be written."""
UNWRITTEN = 100_000
"""Ended logins that may wait for storage; above it the oldest is known to this process alone."""


class Waiting(NamedTuple):
    """A login that waits: of which device, through which gateway it came, and how it goes on."""

    user: str
    device: str
    gateway: str
    then: Callable[[], None]


class Endings:
    """What has ended, between presence and storage.

    Args:
        presence: remembers it for this process.
        dbservers: the store.
        born_ms: when this process began, unix ms.
    """

    def __init__(self, presence: Presence, dbservers: Dbservers, born_ms: int) -> None:
        self._presence = presence
        self._dbservers = dbservers
        self._born = born_ms * 1000
        self._unwritten: dict[tuple[str, str], int] = {}
        self._waiting: list[Waiting] = []
        self._wake = Event()
        self._failures = Doubling()
        self._log = get_log()

    def __len__(self) -> int:
        """Ended logins that are not written yet."""
        return len(self._unwritten)

    def ended(self, user: str, device: str, epoch: int) -> None:
        """Logins of a device up to this epoch are over: have storage know it."""
        before = self._unwritten.pop((user, device), 0)
        self._unwritten[user, device] = max(epoch, before)
        if len(self._unwritten) > UNWRITTEN:
            del self._unwritten[next(iter(self._unwritten))]
        self._wake.set()

    def waits(self, user: str, device: str, epoch: int, gateway: str, then: Callable[[], None]) -> bool:
        """Say whether the resume of the login of this epoch must wait for storage; `then` goes on."""
        if epoch >= max(self._born, self._presence.ended.forgotten):
            return False
        self._waiting.append(Waiting(user, device, gateway, then))
        self._wake.set()
        return True

    def begun(self, gateway: str) -> None:
        """The stream of a gateway began anew: logins that came by the one before are void."""
        self._waiting = [one for one in self._waiting if one.gateway != gateway]

    def run(self) -> None:
        """Read and write what gathers, for ever."""
        while True:
            self._wake.wait()
            sleep(GATHER_SECONDS)
            self._wake.clear()
            self.read()
            if not self.write():
                self._wake.wait(AGAIN_SECONDS)
                self._wake.set()

    def read(self) -> None:
        """Ask storage about those who wait, and let them go on; switches greenlets."""
        while self._waiting:
            part = self._waiting[:ROWS]
            del self._waiting[:ROWS]
            try:
                rows = [[one.user, one.device] for one in part]
                epochs = self._dbservers.call("logins_ended", rows, timeout=CALL_SECONDS)
            except RequestError as error:
                self._failed("ended logins not read", error)
                epochs = [0] * len(part)
            for one, epoch in zip(part, epochs, strict=True):
                if epoch:
                    self._presence.ended.end(one.user, one.device, epoch)
                one.then()

    def write(self) -> bool:
        """Tell storage what has ended; False when it is away. Switches greenlets."""
        while part := list(islice(self._unwritten.items(), ROWS)):
            try:
                rows = [[user, device, None, epoch] for (user, device), epoch in part]
                self._dbservers.call("device_mark", rows, timeout=CALL_SECONDS)
            except RequestError as error:
                self._failed("ended logins not written", error)
                return False
            for key, epoch in part:
                if self._unwritten.get(key) == epoch:
                    del self._unwritten[key]
        return True

    def _failed(self, words: str, error: RequestError) -> None:
        if self._failures.hit():
            self._log.warning(words, error=str(error), unwritten=len(self._unwritten))
