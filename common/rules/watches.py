"""Who wants to hear of whom: watched user -> gateways, and what each is still to be told.

A gateway watches for all its clients together: it names a user when the first of
them asks and takes it back with the last. After each link up it names all it watches,
in slices, and is told of every one of them again; it passes on what differs from
what its clients know.

A user's watchers are one integer, a bit per gateway, so that a million watched users
cost a dict entry each.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple


class View(NamedTuple):
    """What others see of a user. `online` is None while it cannot be known."""

    online: bool | None
    devices: list[list[str]]
    since: int


OFFLINE = View(False, [], 0)
UNKNOWN = View(None, [], 0)


class Watcher:
    """One gateway: whom it watches, and of whom it is to be told at the next turn."""

    __slots__ = ("bit", "postponed", "renewed", "untold", "users")

    def __init__(self, bit: int) -> None:
        self.bit = bit
        self.users: set[str] = set()
        self.renewed: set[str] | None = None
        """What the list under way has named so far; None outside one."""
        self.untold: dict[str, None] = {}
        """In the order in which they are to be told."""
        self.postponed: dict[str, None] = {}
        """To be told when more is known."""


class Watches:
    """All watches of one session process. Nothing here is looked up by walking."""

    def __init__(self) -> None:
        self._watchers: dict[str, Watcher] = {}
        self._masks: dict[str, int] = {}

    def __contains__(self, user: object) -> bool:
        return user in self._masks

    def __len__(self) -> int:
        """Users that somebody watches."""
        return len(self._masks)

    def add(self, gateway: str, users: Iterable[str]) -> None:
        """Note that a gateway has a first watcher for each of these."""
        watcher = self._watcher(gateway)
        for user in users:
            watcher.users.add(user)
            self._masks[user] = self._masks.get(user, 0) | watcher.bit
            if watcher.renewed is not None:
                watcher.renewed.add(user)

    def remove(self, gateway: str, users: Iterable[str]) -> None:
        """Note that the last watcher of each of these has gone."""
        watcher = self._watcher(gateway)
        for user in users:
            self._remove(watcher, user)
            if watcher.renewed is not None:
                watcher.renewed.discard(user)

    def renew(self, gateway: str, users: Iterable[str], first: bool, last: bool) -> None:
        """Take one slice of all a gateway watches; what the list does not name is no longer watched.

        All users named are to be told again. A last slice whose first was lost ends nothing.
        """
        watcher = self._watcher(gateway)
        if first:
            watcher.renewed = set()
        users = list(users)
        self.add(gateway, users)
        watcher.untold.update(dict.fromkeys(users))
        if last and watcher.renewed is not None:
            for user in watcher.users - watcher.renewed:
                self._remove(watcher, user)
            watcher.renewed = None

    def drop(self, gateway: str) -> None:
        """Forget all that a gateway watches: it is gone, or lives anew."""
        watcher = self._watcher(gateway)
        for user in list(watcher.users):
            self._remove(watcher, user)
        watcher.renewed = None

    def tell(self, user: str) -> None:
        """Queue a user for all gateways that watch it."""
        mask = self._masks.get(user, 0)
        for watcher in self._watchers.values():
            if mask & watcher.bit:
                watcher.untold[user] = None

    def tell_one(self, gateway: str, users: Iterable[str]) -> None:
        """Queue users for one gateway, those it watches."""
        watcher = self._watcher(gateway)
        for user in users:
            if user in watcher.users:
                watcher.untold[user] = None

    def take(self, gateway: str, limit: int) -> list[str]:
        """Give at most `limit` users to tell this gateway of; they count as told."""
        watcher = self._watcher(gateway)
        taken = list(islice(watcher.untold, limit))
        for user in taken:
            del watcher.untold[user]
            watcher.postponed.pop(user, None)
        return taken

    def postpone(self, gateway: str, users: Iterable[str]) -> None:
        """Put users aside that cannot be told of yet, until `resume`."""
        self._watcher(gateway).postponed.update(dict.fromkeys(users))

    def resume(self, gateway: str) -> None:
        """Queue what was put aside."""
        watcher = self._watcher(gateway)
        watcher.untold.update(watcher.postponed)
        watcher.postponed = {}

    def _watcher(self, gateway: str) -> Watcher:
        watcher = self._watchers.get(gateway)
        if watcher is None:
            watcher = self._watchers[gateway] = Watcher(1 << len(self._watchers))
        return watcher

    def _remove(self, watcher: Watcher, user: str) -> None:
        watcher.users.discard(user)
        watcher.untold.pop(user, None)
        watcher.postponed.pop(user, None)
        mask = self._masks.get(user, 0) & ~watcher.bit
        if mask:
            self._masks[user] = mask
        else:
            self._masks.pop(user, None)
