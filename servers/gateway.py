"""A gateway process: clients' sockets, and only them.

python -m servers.gateway INDEX

clients ── TCP, HTTP ──▶ connections ── link ──▶ worlds, sessions
        ◀── fan-out ── mirror of rooms ◀── link ──
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.front import (  # noqa: F401 - they fill tables
    keeping,
    leaving,
    login,
    maps,
    pages,
    people,
    polls,
    rooms,
    upgrade,
)
from common.net.front.announcing import Announcing
from common.net.front.arrival import COUNTERS as ARRIVAL_COUNTERS
from common.net.front.broadcast import Broadcasts
from common.net.front.front import COUNTERS, Front
from common.net.front.listener import Door, Listener, Place
from common.net.front.mirror import Mirror
from common.net.front.opening import Opening
from common.net.front.polls import SWEEP_SECONDS
from common.net.front.sockets import cooperative
from common.net.front.subscribing import AGAIN_SECONDS, Subscribing
from common.net.front.told import TOLD
from common.net.front.views import ASK_EVERY
from common.net.front.web import WebConnection
from common.net.idrange import Ids
from common.net.links import Peer
from common.net.moderation import Moderation
from common.net.process import Process, Service, main
from common.rules.tags import as_tags
from common.settings import TokenKey
from common.wire.codec import encode, inbox_frame
from common.wire.names import uid_of
from common.wire.tokens import check_keys

if TYPE_CHECKING:
    from common.net.front.certificate import Certificate

LINK = Handlers("gateway links")
RPC = Handlers("gateway rpc")
LINK.adopt(TOLD, lambda gateway: gateway.front)
DIGEST_EVERY = 5.0
CERTIFICATE_EVERY = 2.0
WILDCARDS = ("0.0.0.0", "::", "")


class Gateway(Service):
    """The outward door of the cluster."""

    LINK = LINK
    RPC = RPC

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        settings, places = process.settings.gateway, process.places
        process.metrics.counters.declare(COUNTERS)
        self.mirror = Mirror(process.links, settings.fanout_slice_ms / 1000, process.metrics.counters)
        keys = (TokenKey(key=process.secrets.token_key), *process.settings.auth.keys)
        check_keys(keys)
        dbservers = Dbservers(process.callers, places, process.index)
        self.front = Front(process, self.mirror, keys, Ids(dbservers), dbservers)
        self.announcing = Announcing(self.front)
        self.broadcasts = Broadcasts(self.front)
        self.subscribing = Subscribing(self.front)
        self.certificate = self._certificate()
        process.metrics.counters.declare(ARRIVAL_COUNTERS)
        self.moderation = Moderation(settings.look_every_ms / 1000)
        self.door = Door(self.front, places.host, self._listening(), self.certificate)
        web_socket = places.web_socket(process.index)
        self.opening = Opening(process, self.door, self.peers())
        self.siblings = Listener(web_socket, False, lambda: True, self._take_sibling)

    def _certificate(self) -> Certificate | None:
        """Give what TLS is done with, where it is wanted; only then does `ssl` take its memory."""
        settings = self.process.settings.gateway
        if not settings.tls_certificate:
            return None
        from common.net.front.certificate import Certificate

        return Certificate(settings.tls_certificate, settings.tls_key)

    def _listening(self) -> list[Place]:
        """Name the ports of this gateway."""
        places, index = self.process.places, self.process.index
        listening = [
            Place(places.tcp_port(index)),
            Place(places.port, shared=True),
            Place(places.own_web_port(index), web=True),
            Place(places.web_port, shared=True, web=True),
        ]
        if self.certificate is not None:
            listening += [
                Place(places.tls_port, shared=True, tls=True),
                Place(places.tls_web_port, shared=True, web=True, tls=True),
            ]
        return listening

    def _take_sibling(self, sock: Any, address: str) -> None:
        """Serve a request that another gateway passes on."""
        web = WebConnection(self.front, cooperative(sock), address, sibling=True)
        self.process.tasks.spawn(f"sibling {web.number}", web.run)

    def peers(self) -> tuple[str, ...]:
        return self.process.places.worlds + self.process.places.sessions

    def start(self) -> None:
        tasks, metrics = self.process.tasks, self.process.metrics
        self.moderation.start()
        self.front.start()
        self.siblings.open()
        self.door.bind()
        tasks.spawn("door", self.opening.run, core=True)
        tasks.spawn("mirror", self.mirror.run, core=True)
        tasks.every("digests", DIGEST_EVERY, self.mirror.send_digests)
        tasks.every("polls", SWEEP_SECONDS, self.front.polls.step)
        if self.certificate is not None:
            tasks.every("certificate", CERTIFICATE_EVERY, self.certificate.step)
        tasks.every("seats", ASK_EVERY, self.front.views.step)
        tasks.every("assignments", AGAIN_SECONDS, self.subscribing.step)
        metrics.gauge("connections", "clients logged in", lambda: len(self.front.connections))
        metrics.gauge("half_open", "clients not logged in yet", lambda: len(self.front.half_open))
        metrics.gauge(
            "web", "sockets in the middle of an HTTP request, or between two", lambda: len(self.front.web)
        )
        metrics.gauge(
            "polls", "sessions of long polling and server-sent events", lambda: len(self.front.polls)
        )
        metrics.gauge("rooms", "rooms with members here", lambda: len(self.mirror.rooms))
        metrics.gauge("seats", "clients in a map", lambda: len(self.front.views))
        metrics.gauge("stuck", "clients whose outbox is full", lambda: len(self.front.stuck))

    def missing(self) -> list[str]:
        return [] if self.opening.is_over else ["clients are not let in yet"]

    def stop(self) -> None:
        seconds = self.process.settings.gateway.stop_timeout
        until = time.monotonic() + seconds
        self.drain(seconds / 2)
        leaving.wait_for_all(self.front, until)
        leaving.send_off(self.front)
        self.siblings.close()
        self.front.stop()
        self.moderation.stop()

    def fenced(self) -> None:
        self.process.log.warning("clients may have missed messages", connections=self.connections())

    def connections(self) -> int:
        return len(self.front.connections) + len(self.front.half_open)

    def queues(self) -> dict[str, int]:
        front = self.front
        return {
            "requests": len(front.requests),
            "stuck": len(front.stuck),
            "untold": len(front.mail.untold),
            "announcing": len(self.announcing),
        }

    def link_down(self, peer: str) -> None:
        self.front.requests.lost(peer)
        self.announcing.end(peer)
        self.front.views.away(peer)

    def link_turn(self, peer: str) -> None:
        self.mirror.turn(peer)

    def link_up(self, peer: str) -> None:
        if peer in self.process.places.worlds:
            self.mirror.announce(peer)
            self.process.tasks.spawn(f"seats to {peer}", self.front.views.announce, peer)
        else:
            self.announcing.begin(peer)

    def _others(self) -> dict[str, list[str]]:
        """Name the other gateways: door -> "host:port" as clients reach them, where that is known."""
        places = self.process.places
        if places.host in WILDCARDS:
            return {}
        others = [index for index in range(len(places.gateways)) if index != self.process.index]
        return {
            "tcp": [f"{places.host}:{places.tcp_port(index)}" for index in others],
            "web": [f"{places.host}:{places.own_web_port(index)}" for index in others],
        }

    def drain(self, within: float | None = None) -> None:
        """Let nobody in and tell everybody to leave, in so many seconds or at the set pace."""
        if self.process.state != "stopping":
            self.process.state = "draining"
        self.door.close()
        leaving.tell_all(self.front, self._others(), within)


@LINK.on("ok")
def ok(gateway: Gateway, peer: Peer, number: int, value: Any) -> None:
    """A request was carried out."""
    gateway.front.requests.succeed(number, value)


@LINK.on("err")
def err(gateway: Gateway, peer: Peer, number: int, code: str, message: str, facts: dict[str, Any]) -> None:
    """A request was refused."""
    gateway.front.requests.fail(number, code, message, facts)


@LINK.on("m")
def message(gateway: Gateway, peer: Peer, key: str, offset: int, uid: str, data: bytes, time_ms: int) -> None:
    """A room has a new message."""
    gateway.mirror.message(key, offset, uid, data, time_ms)


@LINK.on("sync")
def sync(gateway: Gateway, peer: Peer, key: str, epoch: int, offset: int) -> None:
    """A room stands there now, whatever was heard of it before."""
    gateway.mirror.sync(key, epoch, offset)


@LINK.on("event")
def event(gateway: Gateway, peer: Peer, key: str, kind: str, uid: str, count: int) -> None:
    """Presence in a room changed."""
    gateway.mirror.event(key, kind, uid, count)


@LINK.on("roster")
def roster(gateway: Gateway, peer: Peer, key: str, wanted: bool) -> None:
    """A world wants a room's members by name, or no longer."""
    gateway.mirror.name_members(key, wanted, peer.name)


@LINK.on("recount")
def recount(gateway: Gateway, peer: Peer) -> None:
    """A world counts otherwise: tell it all again."""
    gateway.mirror.announce(peer.name)


@LINK.on("kick")
def kick(gateway: Gateway, peer: Peer, number: int, epoch: int, code: str, reason: str) -> None:
    """A login was replaced or is no longer allowed."""
    connection = gateway.front.connections.get(number)
    if connection is not None and connection.epoch == epoch:
        connection.kick(code, reason)


@LINK.on("stale")
def stale(gateway: Gateway, peer: Peer, numbers: list[int]) -> None:
    """Logins that were superseded while this gateway was away."""
    for number in numbers:
        connection = gateway.front.connections.get(number)
        if connection is not None:
            login.restart(connection)


@LINK.on("presence")
def presence(gateway: Gateway, peer: Peer, rows: list[list[Any]]) -> None:
    """Watched users came or went; what was told already, before the stream began anew, is not repeated."""
    for user, online, devices, since in rows:
        watchers = gateway.front.watchers.get(user)
        state = (online, devices)
        if not watchers or gateway.front.told.get(user) == state:
            continue
        gateway.front.told[user] = state
        body = {
            "uid": uid_of(user),
            "online": online,
            "devices": people.devices_body(devices),
            "since": since,
        }
        frame = encode("presence", 0, body)
        for connection in list(watchers):
            connection.send(frame)


@LINK.on("inbox")
def inbox(
    gateway: Gateway, peer: Peer, numbers: list[int], mid: int, uid: str, data: bytes, time_ms: int
) -> None:
    """A message to users here."""
    frame = inbox_frame(mid, uid, data, time_ms)
    for number in numbers:
        connection = gateway.front.connections.get(number)
        if connection is not None:
            gateway.front.entrance.tell(connection, frame)


@LINK.on("kept")
def kept(gateway: Gateway, peer: Peer, rows: list[list[int]], mid: int, body: bytes) -> None:
    """The live copy of a kept message: [connection, seq, the number given before it] each."""
    here = gateway.front.connections
    gateway.front.mail.live([(here[row[0]], row[1], row[2]) for row in rows if row[0] in here], mid, body)


@LINK.on("receipt")
def receipt(
    gateway: Gateway, peer: Peer, numbers: list[int], mid: int, uid: str, device: str, ms: int
) -> None:
    """A device has acked a message whose sender, here, wanted to know."""
    frame = encode("receipt", 0, {"mid": mid, "uid": uid, "device": device, "time": ms})
    for number in numbers:
        connection = gateway.front.connections.get(number)
        if connection is not None:
            gateway.front.entrance.tell(connection, frame)


@LINK.on("assign")
def assign(gateway: Gateway, peer: Peer, numbers: list[int], room: str, join: bool) -> None:
    """The server wants clients in a room, or out of it."""
    gateway.subscribing.assign(numbers, room, join)


@LINK.on("tags")
def tags(gateway: Gateway, peer: Peer, numbers: list[int], tags: list[str]) -> None:
    """Other tags were set for devices."""
    for number in numbers:
        connection = gateway.front.connections.get(number)
        if connection is not None:
            connection.tags = gateway.front.tags(as_tags(tags))


@RPC.on("broadcast")
def broadcast(
    gateway: Gateway, product: str, mid: int, body: bytes, bseq: int, prev: int, tags: list[str], rate: int
) -> int:
    """Write to all connections of a product; contract: common/net/front/broadcast.py."""
    return gateway.broadcasts.broadcast(product, mid, body, bseq, prev, tags, rate)


@RPC.on("load")
def load(gateway: Gateway) -> dict[str, Any]:
    """Say how full this gateway is; address: "host:port" for clients, "" when it is not known here."""
    process = gateway.process
    places = process.places
    known = places.host not in WILDCARDS
    return {
        "connections": gateway.connections(),
        "limit": process.settings.gateway.max_connections,
        "address": f"{places.host}:{places.tcp_port(process.index)}" if known else "",
        "state": process.state,
    }


@RPC.on("drain")
def drain(gateway: Gateway) -> int:
    """Begin to drain; give how many connections are to leave."""
    gateway.process.tasks.spawn("drain", gateway.drain)
    return len(gateway.front.connections)


if __name__ == "__main__":
    main("gateway", Gateway)
