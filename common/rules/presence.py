"""Presence: which devices each user is connected with, and through which gateway.

    gateway ── open, close, announce ──▶ Presence ──▶ kicks, stale connections
    gateway ── watch, watches ─────────▶          ──▶ changes(), once a turn

Nothing is stored. After a restart of the session process the gateways announce their
connections, and until each of them has announced or is gone a user not heard of is
*unknown*, never offline.

A user is online from its first login until the last of its devices has been away for
`offline_ticks`. Connections end in silence (a late close, a gateway gone), and devices
come back; that time lies between. A user whose devices are all gone has no entry.

Times are unix milliseconds, passed in. Delays are counted in turns (`tick`), so a step
of the clock or a freeze of this process makes nobody offline early.

Source: docs/protocol.md, section 6 (Devices, Presence).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from common.errors import Conflict, Full, Unauthorized, Unavailable
from common.rules.devices import (
    ALL_DEVICES,
    EndedLogins,
    Kick,
    Limits,
    Login,
    Opened,
    User,
    leavers,
    longest_away,
    rivals,
    stands_above,
)
from common.rules.gateways import Gateway, Gateways
from common.rules.seen import Seen
from common.rules.shared import Shared
from common.rules.tags import SETS_SHARED, Tags, as_tags
from common.rules.watches import OFFLINE, UNKNOWN, View, Watches
from common.rules.wheel import Wheel

KINDS_SHARED = 1_000
"""Kinds of which all logins share one copy; clients may send any name."""


class Presence:
    """The presence of one session process's users.

    Args:
        gateways: names of the configured gateways: each must announce or be gone first.
        limits: see Limits.

    Attributes:
        ended: logins that cannot be resumed.
    """

    def __init__(self, gateways: Iterable[str], limits: Limits) -> None:
        self.limits = limits
        self.gateways = Gateways(gateways, limits.gone_ticks)
        self.watches = Watches()
        self.seen = Seen()
        self.users: dict[str, User] = {}
        self.ticks = 0
        self._epoch = 0
        self.ended = EndedLogins(limits.ended)
        self._away: Wheel[Login] = Wheel(1.0, limits.offline_ticks + 2)
        self._before: dict[str, View] = {}
        self._kind: Shared[str] = Shared(KINDS_SHARED)
        self._tags: Shared[Tags] = Shared(SETS_SHARED)
        self._known_at = 0

    @property
    def known(self) -> bool:
        """Whether a user without an entry is offline for certain."""
        return not self.gateways.awaited

    # what gateways say

    def back(self, name: str) -> None:
        """A link with this gateway is up; one that was gone has to announce."""
        self.gateways.back(name, self.ticks)

    def meet(self, name: str, incarnation: str, now: int) -> Gateway | None:
        """Take note of who speaks, before anything it says.

        Returns:
            The gateway; None for one from an older life, whose words are void.
        """
        met = self.gateways.meet(name, incarnation, self.ticks)
        if met is None:
            return None
        gateway, renewed = met
        if renewed:
            self._drop(gateway, now)
        return gateway

    def open(
        self,
        gateway: Gateway,
        conn: int,
        user: str,
        device: str,
        kind: str,
        resume_epoch: int,
        now: int,
        tags: Sequence[str] = (),
    ) -> Opened:
        """Log a device in; a repeat of what stands already gets the same answer.

        Args:
            resume_epoch: epoch of the login the resume token belongs to; 0: by token.
            tags: those of its token.

        Raises:
            Unauthorized: the resumed login has been ended by `bye` or a ban.
            Conflict: refused by the policy, or this connection was closed or told to leave.
            Full: too many devices are connected.
            Unavailable: the policy needs to know all devices, and they are not known yet.
            Whatever is raised, nothing has changed.
        """
        held = gateway.connections.get(conn)
        if held is not None and (held.user, held.device) == (user, device):
            return Opened(held.epoch, self.users[user].since, [])
        if held is not None or gateway.has_closed(conn):
            raise Conflict("this connection has been closed or replaced")
        if resume_epoch and self.ended.has(user, device, resume_epoch):
            raise Unauthorized("this login has ended")
        policy = self._policy(user)
        if policy != "all" and not self.known:
            raise Unavailable("the devices of this user are not known yet")
        entry = self.users.get(user)
        logins = entry.logins if entry is not None else ()
        leaving = leavers(logins, device, kind, policy, self.limits.devices)
        self._epoch = max(self._epoch + 1, now * 1000)
        login = Login(user, device, self._kind(kind), gateway, conn, self._epoch, self._tags(as_tags(tags)))
        kicks = self._settle(login, leaving, now, now)
        self.seen.add(user, now, 0)
        return Opened(login.epoch, self.users[user].since, kicks)

    def close(
        self, gateway: Gateway, conn: int, user: str, device: str, epoch: int, bye: bool, now: int
    ) -> int:
        """Take a connection away; give the epoch up to which logins of its device are over, 0 = none.

        One that has been replaced changes nothing any more.

        Args:
            epoch: of its login; 0 when the gateway never had the answer.
            bye: the client ended the login: up to this epoch it cannot be resumed.
        """
        gateway.closed.add(conn)
        login = gateway.connections.get(conn)
        if login is not None:
            epoch = epoch or login.epoch
            self._detach(login, now)
        if bye and epoch:
            self.ended.end(user, device, epoch)
        return epoch if bye else 0

    def announce(
        self, gateway: Gateway, entries: Iterable[Sequence[Any]], first: bool, last: bool, now: int
    ) -> tuple[list[int], list[Kick]]:
        """Take one slice of all connections a gateway has for us.

        After the last slice what was neither named nor opened meanwhile is taken away.
        A last slice whose first was lost ends nothing.

        Args:
            entries: [conn, user, device, kind, epoch, since ms, [tag…]] each.

        Returns:
            Connections whose login is no longer accepted, and kicks of others.
        """
        if first:
            gateway.announcing = set()
        stale: list[int] = []
        kicks: list[Kick] = []
        for entry in entries:
            if not self._announced(gateway, kicks, now, *entry):
                stale.append(entry[0])
        if last and gateway.announcing is not None:
            for conn in gateway.connections.keys() - gateway.announcing:
                self._detach(gateway.connections[conn], now)
            gateway.announcing = None
            self._stop_waiting(gateway)
        return stale, kicks

    def watch(self, gateway: Gateway, users: list[str], off: bool) -> None:
        """Begin or end telling a gateway of changes of these users."""
        if off:
            self.watches.remove(gateway.name, users)
            return
        self.watches.add(gateway.name, users)
        self.watches.tell_one(gateway.name, self._unknown_of(users))

    def where(self, gateway: Gateway, users: list[str]) -> list[tuple[str, View]]:
        """Give what is known of each; a gateway that watches one of the unknown hears of it later."""
        self.watches.tell_one(gateway.name, self._unknown_of(users))
        return [(user, self.view(user)) for user in users]

    # what others ask and set

    def logins(self, user: str) -> tuple[Login, ...]:
        """Give the devices of a user, those that are away for a moment too; () when it is offline."""
        entry = self.users.get(user)
        return entry.logins if entry is not None else ()

    def end_logins(self, user: str, now: int) -> None:
        """No login of this user until now can be resumed (a ban); connections are the caller's to end."""
        self.ended.end(user, ALL_DEVICES, max(self._epoch, now * 1000))

    def tag(self, login: Login, tags: Sequence[str]) -> None:
        """Give a device other tags."""
        login.tags = self._tags(as_tags(tags))

    def view(self, user: str) -> View:
        """Give what others see of a user, devices [device, kind] in order of name."""
        entry = self.users.get(user)
        if entry is None:
            return OFFLINE if self.known else UNKNOWN
        return View(True, sorted([login.device, login.kind] for login in entry.logins), entry.since)

    def targets(self, users: Iterable[str]) -> dict[str, list[Login]]:
        """Give all connections of these users: gateway name -> logins there."""
        found: dict[str, list[Login]] = {}
        for user in dict.fromkeys(users):
            entry = self.users.get(user)
            for login in entry.logins if entry is not None else ():
                if login.gateway is not None:
                    found.setdefault(login.gateway.name, []).append(login)
        return found

    # the passing of time

    def tick(self, now: int) -> list[str]:
        """Let one turn pass; give the names of gateways that are gone with it."""
        self.ticks += 1
        gone = [gateway.name for gateway in self.gateways.silent(self.ticks)]
        for name in gone:
            self.call_gone(name, now)
        for login in self._away.advance(self.ticks):
            self._forget_absent(login)
        if self.ticks % self.limits.closed_ticks == 0:
            for gateway in self.gateways:
                gateway.forget_closed()
        turns = self.limits.online_ticks
        self.seen.count_share(self.users, self.ticks % turns, turns, now)
        return gone

    def call_gone(self, name: str, now: int) -> bool:
        """Take all of a gateway's connections away and wait for it no longer; False: it is gone already."""
        gateway = self.gateways.get(name)
        if gateway is None or gateway.gone:
            return False
        gateway.gone = True
        gateway.announcing = None
        self._drop(gateway, now)
        self._stop_waiting(gateway)
        return True

    def doubt(self) -> None:
        """This process was frozen: what it knows counts, but all gateways must announce again."""
        self.gateways.await_all()

    def changes(self, gateway: str, limit: int) -> list[tuple[str, View]]:
        """Give at most `limit` users this gateway is to be told of, and what is seen of them.

        Whom nobody has heard of since presence became known is told offline only
        after the time all have to come back.
        """
        self._gather()
        settled = self.known and self.ticks > self._known_at + self.limits.offline_ticks
        if settled:
            self.watches.resume(gateway)
        told, later = [], []
        for user in self.watches.take(gateway, limit):
            view = self.view(user)
            if view.online or settled:
                told.append((user, view))
            else:
                later.append(user)
        self.watches.postpone(gateway, later)
        return told

    # inside

    def _policy(self, user: str) -> str:
        return self.limits.policies.get(user.partition("/")[0], "all")

    def _announced(
        self,
        gateway: Gateway,
        kicks: list[Kick],
        now: int,
        conn: int,
        user: str,
        device: str,
        kind: str,
        epoch: int,
        since: int,
        tags: Sequence[str] = (),
    ) -> bool:
        """Take one connection as announced; False when its login is no longer accepted."""
        self._epoch = max(self._epoch, epoch)
        held = gateway.connections.get(conn)
        if held is not None:
            gateway.hold(held)
            return held.epoch == epoch
        if gateway.has_closed(conn) or self.ended.has(user, device, epoch):
            return False
        entry = self.users.get(user)
        logins = entry.logins if entry is not None else ()
        leaving = rivals(logins, device, kind, self._policy(user))
        if any(stands_above(login, device, epoch) for login in leaving):
            return False
        try:
            leaving += longest_away(logins, leaving, self.limits.devices)
        except Full:
            return False
        login = Login(user, device, self._kind(kind), gateway, conn, epoch, self._tags(as_tags(tags)))
        kicks += self._settle(login, leaving, since, now)
        return True

    def _settle(self, login: Login, leaving: list[Login], since: int, now: int) -> list[Kick]:
        """Put a login in the place of those who leave; give the kicks that ends."""
        gateway = login.gateway
        assert gateway is not None
        entry = self.users.get(login.user)
        self._touch(login.user)
        if entry is None:
            entry = self.users[login.user] = User(now)
        else:
            login.user = entry.logins[0].user
        if not entry.connected():
            entry.counted = now
        kicks = []
        for old in leaving:
            if old.gateway is None:
                continue
            code = "replaced" if old.device == login.device else "policy"
            kicks.append(Kick(old.gateway.name, old.conn, old.epoch, code))
            old.gateway.closed.add(old.conn)
            old.gateway.release(old)
        entry.since = min(entry.since, since)
        entry.logins = (login, *(old for old in entry.logins if old not in leaving))
        gateway.hold(login)
        return kicks

    def _detach(self, login: Login, now: int) -> None:
        """A device lost its connection: it is away from now on, for `offline_ticks` at most."""
        gateway = login.gateway
        assert gateway is not None
        gateway.release(login)
        entry = self.users[login.user]
        if len(entry.logins) > 1:
            entry.logins = (*(other for other in entry.logins if other is not login), login)
        if not entry.connected():
            self.seen.count(login.user, entry, now)
        self._away.add(self.ticks + self.limits.offline_ticks, login)

    def _drop(self, gateway: Gateway, now: int) -> None:
        for login in list(gateway.connections.values()):
            self._detach(login, now)
        self.watches.drop(gateway.name)

    def _forget_absent(self, login: Login) -> None:
        """Forget a device that stayed away; while not all is known, only later."""
        entry = self.users.get(login.user)
        if entry is None or login not in entry.logins:
            return  # it came back, as a new login
        if not self.known:
            self._away.add(self.ticks, login)
            return
        self._touch(login.user)
        entry.logins = tuple(other for other in entry.logins if other is not login)
        if not entry.logins:
            del self.users[login.user]

    def _stop_waiting(self, gateway: Gateway) -> None:
        if not self.known:
            self.gateways.awaited.discard(gateway.name)
            self._known_at = self.ticks

    def _touch(self, user: str) -> None:
        """Keep what was seen of a watched user before its first change in this turn."""
        if user in self.watches and user not in self._before:
            self._before[user] = self.view(user)

    def _gather(self) -> None:
        for user, before in self._before.items():
            if self.view(user) != before:
                self.watches.tell(user)
        self._before.clear()

    def _unknown_of(self, users: Iterable[str]) -> list[str]:
        return [] if self.known else [user for user in users if user not in self.users]
