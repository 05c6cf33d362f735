"""Tags of devices: those of the token, unless others were set; and who has them.

    login ─▶ tags of the token ─▶ what was set for the device is read soon after
    set (by center, which stored it) ─▶ at once

Which users have some tags is found by going through all who are here, in slices; a
page after the first is cut from what the first one found.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from gevent import sleep
from gevent.event import Event

from common.errors import RequestError
from common.net.dbclient import Dbservers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.pace import in_slices
from common.net.register.post import Post
from common.rules.devices import Login
from common.rules.gateways import Gateway
from common.rules.presence import Presence
from common.rules.tags import Tags, Wanted

READ_AT_ONCE = 500
GATHER_SECONDS = 0.1
AGAIN_SECONDS = 1.0
FOUND_KEPT = 8
FOUND_SECONDS = 60.0


class Tagging:
    """The tags of one session process's devices.

    Args:
        presence: who is here.
        post: the way to gateways, which know the tags of their connections.
        dbservers: where those set for devices are.
    """

    def __init__(self, presence: Presence, post: Post, dbservers: Dbservers) -> None:
        self._presence = presence
        self._post = post
        self._dbservers = dbservers
        self._unread: dict[Login, None] = {}
        self._wake = Event()
        self._found: dict[tuple[str, Tags], tuple[float, list[str]]] = {}
        self._failures = Doubling()
        self._log = get_log()

    def __len__(self) -> int:
        """Logins whose stored tags are not read yet."""
        return len(self._unread)

    # what was set

    def opened(self, login: Login) -> None:
        """A device logged in: find out soon whether tags were set for it."""
        self._unread[login] = None
        self._wake.set()

    def set(self, login: Login, tags: Tags) -> None:
        """Other tags were set for a device that is here."""
        self._unread.pop(login, None)
        self._tag(login, tags)

    def announced(self, gateway: Gateway, entries: Iterable[Sequence[Any]]) -> None:
        """A gateway told what it has: correct it where other tags were set meanwhile."""
        for conn, *_rest, tags in entries:
            login = gateway.connections.get(conn)
            if login is not None and login.tags != tuple(tags):
                self._post.surely(gateway.name, ["tags", [conn], login.tags])

    def run(self) -> None:
        """Read what gathers, for ever."""
        while True:
            self._wake.wait()
            sleep(GATHER_SECONDS)
            if not self.step():
                sleep(AGAIN_SECONDS)
            if not self._unread:
                self._wake.clear()

    def step(self) -> bool:
        """Read the stored tags of some devices; False when storage is away. Switches greenlets."""
        batch = list(islice(self._unread, READ_AT_ONCE))
        if not batch:
            return True
        try:
            stored = self._dbservers.call("tags_of", [[login.user, login.device] for login in batch])
        except RequestError as error:
            if self._failures.hit():
                self._log.warning("tags not read", error=str(error), waiting=len(self._unread))
            self._forget_gone()
            return False
        for login, tags in zip(batch, stored, strict=True):
            if login not in self._unread:
                continue
            del self._unread[login]
            if tags is not None:
                self._tag(login, tuple(tags))
        return True

    def _forget_gone(self) -> None:
        """While storage is away: devices that left need no tags."""
        for login in in_slices(list(self._unread)):
            if login.gateway is None:
                self._unread.pop(login, None)

    def _tag(self, login: Login, tags: Tags) -> None:
        before = login.tags
        self._presence.tag(login, tags)
        if login.gateway is not None and login.tags != before:
            self._post.surely(login.gateway.name, ["tags", [login.conn], login.tags])

    # who has them

    def tagged(self, product: str, tags: Tags, after: str, limit: int) -> list[str]:
        """Give a page of the users of a product that have a device with all these tags, in order.

        Args:
            after: the last user of the page before; "": the first page.

        Returns:
            At most `limit` of them; fewer: there are no more.
        """
        now = time.monotonic()
        self._found = {key: found for key, found in self._found.items() if found[0] + FOUND_SECONDS > now}
        kept = self._found.get((product, tags)) if after else None
        users = kept[1] if kept is not None else self._find(product, tags)
        if kept is None and len(users) > limit:
            self._found[product, tags] = (now, users)
            for key in list(self._found)[:-FOUND_KEPT]:
                del self._found[key]
        begin = bisect_right(users, after)
        return users[begin : begin + limit]

    def _find(self, product: str, tags: Tags) -> list[str]:
        wanted, prefix = Wanted(tags), f"{product}/"
        found = []
        for name, user in in_slices(list(self._presence.users.items())):
            if name.startswith(prefix) and any(wanted.fits(login.tags) for login in user.logins):
                found.append(name)
        return sorted(found)
