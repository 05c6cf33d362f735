"""Sending for application servers: to users, to all of a product, to a room.

    kept   dbserver keeps it ──▶ each session shard passes the live copies on
    live   each session shard passes it on
    all    (kept: dbserver keeps it ──▶) four gateways at a time, at a settable rate in all
    room   the room's world

What is kept is stored for every receiver before anybody is told. When telling fails in
part the answer is `unavailable`, and the same request with the same `key` completes it:
storage knows the message, and devices drop the numbers they have.

Source: docs/architecture.md; docs/storage.md, section 2.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgpack
from gevent.pool import Group, Pool

from common.errors import BadField, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.idrange import Ids
from common.net.log import Logger
from common.net.pace import in_slices
from common.places import Places
from common.settings import Settings
from common.wire.names import room_key, uid_of, user_key

SERVER = ""
"""uid of what an application server sends."""
RECEIVERS_PER_SECOND = 2_000
"""Storage takes more on a machine that is not busy; a call for many gets the time it may need."""
AT_ONCE = 4
"""Gateways that walk through a broadcast at a time."""
TAGGED_PAGE = 5_000
"""Users a session names in one answer."""


class Calls(Protocol):
    """What is needed of common.net.rpc.Callers."""

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        """Call a method of another process and give its result."""

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        """Call several at once; give peer -> result or the RequestError it ended with."""


class Push(NamedTuple):
    """What is sent.

    Args:
        data: packed.
        ttl: seconds; None for the longest.
        key: idempotency key, "" = none; counts with `keep` only.
        receipt: the devices tell when they have it.
    """

    product: str
    data: bytes
    keep: bool = False
    ttl: float | None = None
    key: str = ""
    receipt: bool = False


class Sent(NamedTuple):
    """The message's id, and how many users (of a broadcast: connections) were reached now."""

    mid: int
    online: int


class Sending:
    """Sends.

    Args:
        callers: the process's calls.
        log: told of what goes wrong after the fact.
        clock: unix seconds.
    """

    def __init__(
        self,
        callers: Calls,
        places: Places,
        settings: Settings,
        log: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._callers = callers
        self._places = places
        self._timeout = settings.center.api_timeout
        self._rate = settings.gateway.broadcast_per_second
        self._receivers = settings.mailbox.receivers
        self._clock = clock
        self.dbservers = Dbservers(callers, places)
        self._ids = Ids(self.dbservers)

    def users(self, push: Push, uids: Iterable[str]) -> Sent:
        """Send to users; one named twice gets it once, and to none there is nothing to do.

        Raises:
            NotFound: fact `users`: uids nobody knows (kept only); nothing was stored.
            BadField: too many users, or `ttl` out of bounds; nothing was stored.
            Unavailable: fact `mid`: kept for all or some, and not all were told; repeat with the same key.
            RequestError: not stored, as far as is known; repeat with the same key.
        """
        users = [user_key(push.product, uid) for uid in dict.fromkeys(uids)]
        if len(users) > self._receivers:
            limit = self._receivers
            raise BadField(f"a message goes to at most {limit} users", field="to", limit=limit)
        mid, now_ms = self._ids.take(), self._now_ms()
        if not users:
            return Sent(mid, 0)
        if not push.keep:
            shares = self._by_session([(user, user) for user in users])
            calls = {name: (part, mid, SERVER, push.data, now_ms) for name, part in shares.items()}
            return Sent(mid, self._tell_all("deliver", calls, mid))
        body = body_of(push, now_ms)
        kept = (push.product, SERVER, push.key, mid, body, users, push.ttl, digest_of(push, users))
        seconds = self._timeout + len(users) / RECEIVERS_PER_SECOND
        first, seqs, prevs = self.dbservers.call("mail_send", *kept, timeout=seconds)
        standing = body if first == mid else self._body(first)
        if standing is None:
            return Sent(first, 0)
        rows = self._by_session([(user, [user, seqs[user], prevs[user]]) for user in users])
        told = {name: (part, first, standing) for name, part in rows.items()}
        return Sent(first, self._tell_all("tell", told, first))

    def tagged(self, product: str, tags: list[str]) -> list[str]:
        """Give the uids of those online whose connections have the tags.

        Raises:
            BadField: they are more than one message may go to.
            RequestError: a session does not answer.
        """
        found: dict[str, None] = {}
        for name in self._places.sessions:
            after = ""
            while True:
                args = (product, tags, after, TAGGED_PAGE)
                page = self._callers.call(name, "tagged", *args, timeout=self._timeout)
                found.update(dict.fromkeys(map(uid_of, page)))
                if len(found) > self._receivers:
                    reason = f"more than {self._receivers} users have these tags; use broadcast with `tags`"
                    raise BadField(reason, field="tags", limit=self._receivers)
                if len(page) < TAGGED_PAGE:
                    break
                after = page[-1]
        return list(found)

    def broadcast(self, push: Push, rate: int | None = None, tags: list[str] | None = None) -> Sent:
        """Send to every connection of the product, or to those with the tags; `online` counts connections.

        Args:
            rate: connections a second; None for the setting.

        Raises:
            Unavailable: fact `mid`: not every gateway wrote it; repeat with the same key.
            RequestError: not stored, as far as is known; repeat with the same key.
        """
        mid, now_ms = self._ids.take(), self._now_ms()
        body, bseq, prev, is_repeat = body_of(push, now_ms), 0, 0, False
        if push.keep:
            kept = (push.product, SERVER, push.key, mid, body, push.ttl, digest_of(push, tags or []))
            first, bseq, prev = self.dbservers.call("bcast_send", *kept, timeout=self._timeout)
            standing = body if first == mid else self._body(first)
            if standing is None:
                return Sent(first, 0)
            is_repeat, mid, body = first != mid, first, standing
        args = (push.product, mid, body, bseq, prev, tags or [])
        written, failures = self._write_to_all(args, rate or self._rate)
        if push.keep and written:
            self._note_written(push.product, mid, written, is_repeat)
        if failures:
            raise Unavailable(f"not every gateway has it ({'; '.join(failures)})", mid=mid, online=written)
        return Sent(mid, written)

    def _write_to_all(self, args: tuple[Any, ...], pace: int) -> tuple[int, list[str]]:
        """Have every gateway write a broadcast, a few at a time that share the pace.

        Returns:
            Connections it was written to, and what failed.
        """
        loads = self._callers.call_each(self._places.gateways, "load", timeout=self._timeout)
        at_once = min(AT_ONCE, len(loads))
        share = pace / at_once
        failures: list[str] = []

        def one(name: str) -> int:
            try:
                load = loads[name]
                if isinstance(load, RequestError):
                    raise load
                seconds = self._timeout + 2 * load["connections"] / share
                written: int = self._callers.call(name, "broadcast", *args, share, timeout=seconds)
                return written
            except RequestError as error:
                failures.append(f"{name}: {error.message}")
                return 0

        pool = Pool(at_once)
        try:
            return sum(pool.map(one, loads)), failures
        finally:
            pool.kill(block=False)

    def room(self, product: str, room: str, key: str, data: bytes) -> tuple[int, int]:
        """Publish into a room (map/name) as the server; give (epoch, offset).

        Raises:
            NotFound: no such map.
            RequestError: what the world answered, or that it did not.
        """
        name = room_key(product, room)
        args = (name, SERVER, key, data)
        peer = self._places.world_of(name)
        epoch, offset = self._callers.call(peer, "publish", *args, timeout=self._timeout)
        return epoch, offset

    def _body(self, mid: int) -> bytes | None:
        """Give the body that stands for a message sent before; None when all who get it have it."""
        body: bytes | None = self.dbservers.call("mail_body", mid, timeout=self._timeout)
        return body

    def _by_session(self, items: list[tuple[str, Any]]) -> dict[str, list[Any]]:
        """Sort what belongs to users by their session process; others get their turn meanwhile."""
        shares: dict[str, list[Any]] = {}
        for user, item in in_slices(items):
            shares.setdefault(self._places.session_of(user), []).append(item)
        return shares

    def _tell_all(self, method: str, calls: dict[str, tuple[Any, ...]], mid: int) -> int:
        """Call each session with its own arguments, at once; give the sum of what they answer."""
        answers: dict[str, Any] = {}

        def one(name: str, args: tuple[Any, ...]) -> None:
            try:
                answers[name] = self._callers.call(name, method, *args, timeout=self._timeout)
            except RequestError as error:
                answers[name] = error

        if len(calls) == 1:
            one(*next(iter(calls.items())))
        else:
            group = Group()
            try:
                for name, args in calls.items():
                    group.spawn(one, name, args)
                group.join()
            finally:
                group.kill(block=False)
        failures = [
            f"{name}: {error.message}" for name, error in answers.items() if isinstance(error, RequestError)
        ]
        if failures:
            raise Unavailable(f"not everybody was told ({'; '.join(failures)})", mid=mid)
        return sum(answers.values())

    def _note_written(self, product: str, mid: int, written: int, is_repeat: bool) -> None:
        """Have the ledger count; what a repeat was told again by gateways is counted once.

        Without a ledger (storage is nearly full, or away by now) the answer is no less true.
        """
        try:
            if is_repeat:
                head = self.dbservers.call("ledger", product, mid, None, 1, None, timeout=self._timeout)[0]
                written -= head["written"]
            if written > 0:
                self.dbservers.call("bcast_written", mid, written, timeout=self._timeout)
        except RequestError as error:
            self._log.warning("a broadcast is not counted", mid=mid, error=error.message)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def body_of(push: Push, now_ms: int) -> bytes:
    """Give what storage keeps of a message, and devices are sent."""
    packed: bytes = msgpack.packb([SERVER, push.data, now_ms, push.receipt])
    return packed


def digest_of(push: Push, whom: list[str]) -> str:
    """Give the mark of a request: the same for the same message to the same receivers."""
    request = [push.product, push.data, push.ttl, push.receipt, whom]
    return hashlib.blake2b(msgpack.packb(request), digest_size=16).hexdigest()
