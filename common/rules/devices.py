"""A user and its devices: whose login stands, and who must leave for a new one.

The newest login of a device is the one that counts. Between devices the policy of
the product rules: `all` stand together, `newest` stands alone, `per_kind` one of
each kind, `refuse` keeps whoever is connected. At most `limit` devices a user; the
one longest away is forgotten, a connected one never.

Source: docs/protocol.md, section 6 (Devices).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from common.errors import Conflict, Full
from common.rules.cache import Cache, Entry, Keep, Reason
from common.rules.gateways import Gateway
from common.rules.tags import Tags


class Login:
    """The newest login of one device. `gateway` is None while the device is away."""

    __slots__ = ("conn", "device", "epoch", "gateway", "kind", "tags", "user")

    def __init__(
        self, user: str, device: str, kind: str, gateway: Gateway, conn: int, epoch: int, tags: Tags = ()
    ) -> None:
        self.user = user
        self.device = device
        self.kind = kind
        self.gateway: Gateway | None = gateway
        self.conn = conn
        self.epoch = epoch
        self.tags = tags


class User:
    """One user that is online: its devices, those away last and in the order they went."""

    __slots__ = ("_logins", "counted", "since")

    def __init__(self, now: int) -> None:
        self.since = now
        self.counted = now
        """Up to when its online time is added up, unix ms; void while all devices are away."""
        self._logins: Login | tuple[Login, ...] = ()

    @property
    def logins(self) -> tuple[Login, ...]:
        """Its devices. Most users have one, which is kept without a tuple around it: 64 bytes less."""
        held = self._logins
        return held if isinstance(held, tuple) else (held,)

    @logins.setter
    def logins(self, logins: tuple[Login, ...]) -> None:
        self._logins = logins[0] if len(logins) == 1 else logins

    def connected(self) -> bool:
        """Say whether any device has a connection."""
        held = self._logins
        if isinstance(held, Login):
            return held.gateway is not None
        return any(login.gateway is not None for login in held)


@dataclass(frozen=True)
class Limits:
    """What the rules go by; one tick is one turn of the caller's timer.

    Args:
        policies: product -> device policy; others have `all`.
        devices: devices a user may have.
        offline_ticks: absence after which a device is forgotten and its user offline.
        online_ticks: turns over which the online time of all users is added up once.
        gone_ticks: silence after which a gateway counts as gone.
        closed_ticks: how long a closed connection's number is remembered, at least;
            above the longest deadline of an open.
        ended: logins ended by `bye` that are remembered.
    """

    policies: dict[str, str]
    devices: int = 16
    offline_ticks: int = 15
    online_ticks: int = 900
    gone_ticks: int = 12
    closed_ticks: int = 15
    ended: int = 100_000


class Kick(NamedTuple):
    """Tell a gateway to end a connection."""

    gateway: str
    conn: int
    epoch: int
    code: str


class Opened(NamedTuple):
    """A login: its epoch, since when the user is online (unix ms), and who must leave for it."""

    epoch: int
    since: int
    kicks: list[Kick]


def rivals(logins: Iterable[Login], device: str, kind: str, policy: str) -> list[Login]:
    """Give the logins that cannot stand beside one of `device`: its own, and whom the policy excludes."""
    if policy == "all":
        return [login for login in logins if login.device == device]
    if policy == "per_kind":
        return [login for login in logins if login.device == device or login.kind == kind]
    return list(logins)


def stands_above(login: Login, device: str, epoch: int) -> bool:
    """Say whether `login` outlasts its rival of `device` and `epoch`; the same login come back does not."""
    if login.device == device and login.gateway is None:
        return login.epoch > epoch
    return login.epoch >= epoch


def leavers(logins: tuple[Login, ...], device: str, kind: str, policy: str, limit: int) -> list[Login]:
    """Give the logins that leave when `device` logs in now.

    Args:
        logins: the user's, those away in the order they went away.
        limit: devices a user may have.

    Raises:
        Conflict: the policy is `refuse` and another device is connected.
        Full: `limit` other devices are connected.
    """
    leaving = rivals(logins, device, kind, policy)
    if policy == "refuse" and any(login.gateway is not None and login.device != device for login in leaving):
        raise Conflict("another device is connected")
    return leaving + longest_away(logins, leaving, limit)


def longest_away(logins: tuple[Login, ...], leaving: list[Login], limit: int) -> list[Login]:
    """Give whom to forget so that one more device fits beside those who stay; [] when it fits anyway.

    Raises:
        Full: all who stay are connected.
    """
    staying = [login for login in logins if login not in leaving]
    too_many = len(staying) + 1 - limit
    if too_many <= 0:
        return []
    away = [login for login in staying if login.gateway is None]
    if len(away) < too_many:
        raise Full("too many devices of this user are connected", limit=limit)
    return away[:too_many]


ALL_DEVICES = ""
"""Stands for every device of a user in EndedLogins; no device has this name."""


class EndedLogins:
    """The highest login epoch that `bye` (or a ban) has ended, per device (or for all of them).

    Bounded, least recently used go first.

    Attributes:
        forgotten: highest epoch among those that had to go; 0 = none had to.
    """

    def __init__(self, limit: int) -> None:
        self.forgotten = 0
        keep = Keep(max_items=limit, max_bytes=limit, order="lru", on_evict=self._evicted)
        self._epochs: Cache[int] = Cache(keep)

    def __len__(self) -> int:
        return len(self._epochs)

    def end(self, user: str, device: str, epoch: int) -> None:
        """Remember that logins of this device up to `epoch` are over."""
        known = self._epochs.get((user, device))
        if known is None or known.value < epoch:
            self._epochs.put((user, device), epoch, 1, 0.0)

    def _evicted(self, entry: Entry[int], reason: Reason) -> None:
        if reason != "replaced":
            self.forgotten = max(self.forgotten, entry.value)

    def has(self, user: str, device: str, epoch: int) -> bool:
        """Say whether the login of this epoch has been ended."""
        return any(
            known is not None and epoch <= known.value
            for known in (self._epochs.get((user, device)), self._epochs.get((user, ALL_DEVICES)))
        )
