"""A session process: the presence of its share of the users.

    python -m servers.session INDEX

    gateway ── open, close, announce ──▶ who is connected where ──▶ ok, kick, stale
    gateway ── watch, watches, where ──▶                        ──▶ presence, once a second
    gateway ── send, keep, receipt ──▶ the receivers' gateways ── inbox, kept, receipt ──▶
    center ── tell, deliver, kick, ban, assign, tags … ──▶ common/net/register/calls.py
    dbserver ◀── users_seen ── last seen and time online, gathered
             ── bans, tags, ended logins ──▶

What is decided stands in common/rules/presence.py; here it meets links, clock and
storage. Nothing is stored: after a restart the gateways announce all they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from common.errors import RequestError
from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.links import Peer
from common.net.log import Doubling
from common.net.process import Process, Service, main
from common.net.register.calls import CALLS, Register, now_ms
from common.net.register.post import Post
from common.rules.devices import Limits
from common.rules.presence import Presence
from common.rules.tickets import UsedTickets
from common.wire.names import product_of
from common.wire.tickets import TICKET_SECONDS

LINK = Handlers("session link")

TURN = 1.0
"""Seconds over which changes are merged before they are told."""
TOLD_PER_TURN = 5_000
"""Users one gateway is told of in a turn; after a resync the rest follows in the next ones."""
TOLD_PER_ITEM = 1_000
SEEN_BATCH = 1_000
COUNTERS = {
    "opens": "logins opened",
    "refused": "logins refused",
    "late_opens": "logins dropped because their deadline had passed",
    "stale": "announced connections whose login was no longer accepted",
    "told": "users whose presence a gateway was told",
}


class Session(Service):
    """Presence, between the gateways and storage."""

    LINK = LINK

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        settings, lease = process.settings.session, process.settings.lease
        limits = Limits(
            policies=settings.policies,
            devices=settings.devices_per_user,
            offline_ticks=ceil(settings.offline_after / TURN),
            online_ticks=ceil(settings.online_every / TURN),
            gone_ticks=ceil(lease.gone_after / TURN),
            closed_ticks=ceil(process.settings.gateway.request_timeout / TURN) + 1,
        )
        self.presence = Presence(process.places.gateways, limits)
        self.dbservers = Dbservers(process.callers, process.places, process.index)
        self.counters = process.metrics.counters
        self.counters.declare(COUNTERS)
        self.tickets = UsedTickets(TICKET_SECONDS, now_ms() / 1000)
        self.post = Post(process.links, self.counters)
        self.register = Register(
            process.name,
            process.places,
            self.presence,
            self.post,
            self.dbservers,
            settings.bans_every,
            self.counters,
        )
        process.metrics.gauge("users", "users online", lambda: len(self.presence.users))
        process.metrics.gauge("watched", "users somebody watches", lambda: len(self.presence.watches))
        process.metrics.gauge("seen", "users whose last seen waits for storage", self.presence.seen.__len__)
        process.metrics.gauge("banned", "users known to be banned", self.register.bans.__len__)
        self._directory: dict[str, list[Any]] = {}
        self._failures = Doubling()

    def tables(self) -> tuple[tuple[Handlers, Any], ...]:
        return ((CALLS, self.register),)

    def peers(self) -> tuple[str, ...]:
        return self.process.places.gateways

    def start(self) -> None:
        tasks = self.process.tasks
        tasks.every("presence", TURN, self.turn)
        tasks.every("seen", self.process.settings.session.seen_every, self.flush_seen)
        tasks.spawn("bans", self.register.banbook.run, core=True)
        tasks.spawn("tags", self.register.tagging.run, core=True)
        tasks.spawn("endings", self.register.endings.run, core=True)

    def stop(self) -> None:
        self.presence.seen.count_all(self.presence.users, now_ms())
        self.flush_seen()
        self.register.endings.write()

    def missing(self) -> list[str]:
        return [
            f"{name} has not announced its connections" for name in sorted(self.presence.gateways.awaited)
        ]

    def queues(self) -> dict[str, int]:
        register = self.register
        return {
            "seen": len(self.presence.seen),
            "late": len(register.reach),
            "tags": len(register.tagging),
            "ended": len(register.endings),
        }

    def fenced(self) -> None:
        self.presence.doubt()

    def link_up(self, peer: str) -> None:
        self.register.begun(peer)
        self.presence.back(peer)

    def turn(self) -> None:
        """Let a second pass: who is gone, who is offline, and who is to be told."""
        self.process.thaw()
        now = now_ms()
        self._hear(now)
        for name in self.presence.tick(now):
            self.process.log.warning("gateway is gone", gateway=name)
        for name in self.process.places.gateways:
            if self.process.links.up(name):
                self.register.turn(name)
                self._tell(name)
        self.register.reach.settle()

    def flush_seen(self) -> None:
        """Write what is gathered; what storage does not take now is repeated at the next call."""
        seen = self.presence.seen
        while batch := seen.batch(SEEN_BATCH):
            try:
                self.dbservers.call("users_seen", batch)
            except RequestError as error:
                if error.retry:
                    if self._failures.hit():
                        self.process.log.warning("users_seen failed", error=str(error), waiting=len(seen))
                    return
                self.process.log.error("users_seen refused", error=str(error), lost=len(batch))
            seen.written(batch)

    def _hear(self, now: int) -> None:
        """Note who lives: by link, else by a directory that is new since the last turn."""
        directory = self.process.directory
        fresh = directory if directory is not self._directory else {}
        self._directory = directory
        for name in self.process.places.gateways:
            state = fresh[name][2] if name in fresh else ""
            if self.process.links.up(name) or state not in ("", "suspect", "gone"):
                self.presence.gateways.heard(name, self.presence.ticks)
            elif state == "gone" and self.presence.call_gone(name, now):
                self.process.log.warning("gateway is gone", gateway=name, by="directory")

    def _tell(self, gateway: str) -> None:
        changes = self.presence.changes(gateway, TOLD_PER_TURN)
        for begin in range(0, len(changes), TOLD_PER_ITEM):
            part = changes[begin : begin + TOLD_PER_ITEM]
            if self.post.send(gateway, ["presence", [[user, *view] for user, view in part]]):
                self.counters.told += len(part)
            else:
                self.presence.watches.tell_one(gateway, [user for user, _ in part])


@LINK.on("open")
def open_login(
    service: Session,
    peer: Peer,
    rid: int,
    conn: int,
    user: str,
    device: str,
    kind: str,
    resume_epoch: int,
    deadline_ms: int,
    tags: list[str],
    ticket: Sequence[Any] = (),
) -> None:
    """Log a device in; past its deadline the gateway has given up and nothing happens.

    The first of its product waits for the product's bans, and the resume of a login older
    than this process for what storage knows of its end; unless storage is away.

    A ticket (nonce, unix seconds of its end) is used up by the login it opens, not by one that is refused.
    """
    register = service.register

    def go_on() -> None:
        _open(service, peer, rid, conn, user, device, kind, resume_epoch, deadline_ms, tags, ticket)

    def ask_its_end() -> None:
        if not resume_epoch or not register.endings.waits(user, device, resume_epoch, peer.name, go_on):
            go_on()

    if not register.banbook.waits(product_of(user), peer.name, ask_its_end):
        ask_its_end()


def _open(
    service: Session,
    peer: Peer,
    rid: int,
    conn: int,
    user: str,
    device: str,
    kind: str,
    resume_epoch: int,
    deadline_ms: int,
    tags: list[str],
    ticket: Sequence[Any],
) -> None:
    """Log a device in, now that storage was asked what there was to ask."""
    register, now = service.register, now_ms()
    gateway = service.presence.meet(peer.name, peer.incarnation, now)
    if now > deadline_ms or gateway is None:
        service.counters.late_opens += 1
        return
    try:
        register.bans.check(user, now)
        service.tickets.check(ticket)
        opened = service.presence.open(gateway, conn, user, device, kind, resume_epoch, now, tags)
    except RequestError as error:
        service.counters.refused += 1
        service.post.send(peer.name, ["err", rid, error.code, error.message, error.facts])
        return
    service.tickets.use(ticket, now / 1000)
    service.counters.opens += 1
    service.post.kick(opened.kicks)
    service.post.send(peer.name, ["ok", rid, [opened.epoch, opened.since]])
    register.tagging.opened(gateway.connections[conn])


@LINK.on("close")
def close(service: Session, peer: Peer, conn: int, user: str, device: str, epoch: int, bye: bool) -> None:
    """Take a connection away."""
    now = now_ms()
    gateway = service.presence.meet(peer.name, peer.incarnation, now)
    if gateway is not None:
        ended = service.presence.close(gateway, conn, user, device, epoch, bye, now)
        if ended:
            service.register.endings.ended(user, device, ended)


@LINK.on("announce")
def announce(service: Session, peer: Peer, entries: list[list[Any]], first: bool, last: bool) -> None:
    """Take a slice of all a gateway has; name those that must go."""
    now = now_ms()
    gateway = service.presence.meet(peer.name, peer.incarnation, now)
    if gateway is None:
        return
    register = service.register
    rest = register.let_in(peer.name, entries)
    stale, kicks = service.presence.announce(gateway, rest, first, last, now)
    service.post.kick(kicks)
    if stale:
        service.counters.stale += len(stale)
        service.post.surely(peer.name, ["stale", stale])
    register.tagging.announced(gateway, rest)
    register.reach.announced(gateway, rest)


@LINK.on("watch")
def watch(service: Session, peer: Peer, users: list[str], off: bool) -> None:
    """Begin or end telling a gateway of users."""
    gateway = service.presence.meet(peer.name, peer.incarnation, now_ms())
    if gateway is not None:
        service.presence.watch(gateway, users, off)


@LINK.on("watches")
def watches(service: Session, peer: Peer, users: list[str], first: bool, last: bool) -> None:
    """Take a slice of all a gateway watches; it is told of each of them again."""
    gateway = service.presence.meet(peer.name, peer.incarnation, now_ms())
    if gateway is not None:
        service.presence.watches.renew(gateway.name, users, first, last)


@LINK.on("where")
def where(service: Session, peer: Peer, rid: int, users: list[str]) -> None:
    """Answer [user, online (None: unknown), [[device, kind]…], since ms] for each."""
    gateway = service.presence.meet(peer.name, peer.incarnation, now_ms())
    if gateway is not None:
        views = service.presence.where(gateway, users)
        service.post.send(peer.name, ["ok", rid, [[user, *view] for user, view in views]])


@LINK.on("send")
def send(
    service: Session, peer: Peer, rid: int, users: list[str], mid: int, sender: str, data: bytes, time_ms: int
) -> None:
    """Pass a message to all connections of its receivers; answer how many users have one."""
    reached = service.register.reach.live(users, mid, sender, data, time_ms)
    service.post.send(peer.name, ["ok", rid, reached])


@LINK.on("keep")
def keep(service: Session, peer: Peer, rid: int, rows: list[list[Any]], mid: int, body: bytes) -> None:
    """Pass on a message that was stored, [user, seq, number given before] each; answer users reached."""
    reached = service.register.reach.kept(rows, mid, body)
    if rid:
        service.post.send(peer.name, ["ok", rid, reached])


@LINK.on("receipt")
def receipt(service: Session, peer: Peer, sender: str, mid: int, uid: str, device: str, time_ms: int) -> None:
    """Let the sender of a message hear that a device has it."""
    service.register.reach.receipt(sender, mid, uid, device, time_ms)


if __name__ == "__main__":
    main("session", Session)
