"""Gateways and a world talk over links that are cut, full and begun anew at any moment.

Whatever happens, once all is quiet the world counts who is in, every member saw each
message of its rooms or was told what it missed, and nobody saw one twice.
"""

from __future__ import annotations

import io
import random
import struct
from collections import deque
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RequestError
from common.keys import Secrets
from common.net import log as logs
from common.net.front import mirror
from common.net.metrics import Metrics
from common.places import Places
from common.rules.rights import rights_of
from common.settings import Cluster, RoomRule, Settings
from common.settings import World as WorldSettings
from common.wire.codec import Packet, encode
from servers.gateway import LINK as GATEWAY_LINK
from servers.gateway import Gateway
from servers.world import LINK as WORLD_LINK
from servers.world import World
from tests.common.net.hall.recording import Clock

WORLD = "world-0"
GATEWAYS = ("gateway-0", "gateway-1")
ROOMS = ("plaza/a", "plaza/b")
SETTINGS = Settings(
    cluster=Cluster(maps={"plaza": 1}),
    world=WorldSettings(rooms=(RoomRule(history_items=5, member_limit=6),), publishes_per_second=10**6),
)


class Wire:
    """The pair of streams between a gateway and the world, as common/net/links.py keeps them.

    The gateway begins sessions. What was sent in one session is never handled in another;
    within one it is handled in order, all of it up to where it ends.
    """

    def __init__(self) -> None:
        self.to_world: deque[tuple[int, bytes | None]] = deque()
        self.to_gateway: deque[tuple[int, bytes]] = deque()
        self.session = 0
        self.gateway_up = False
        self.world_session = 0
        self.full_to_world = False
        self.full_to_gateway = False


class GatewayLinks:
    """A gateway's side; what goes to other processes than the world is lost on nobody."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def up(self, name: str) -> bool:
        return name != WORLD or self._wire.gateway_up

    def send(self, name: str, item: bytes) -> bool:
        if name != WORLD:
            return True
        if not self._wire.gateway_up or self._wire.full_to_world:
            return False
        self._wire.to_world.append((self._wire.session, item))
        return True


class WorldLinks:
    """The world's side."""

    def __init__(self, wires: dict[str, Wire]) -> None:
        self._wires = wires

    def up(self, name: str) -> bool:
        return self._wires[name].world_session > 0

    def send(self, name: str, item: bytes) -> bool:
        wire = self._wires[name]
        if not wire.world_session or wire.full_to_gateway:
            return False
        wire.to_gateway.append((wire.world_session, item))
        return True


class Client:
    """A connection that checks what it hears, as a client goes by docs/protocol.md, section 6."""

    BY_REQUESTS = False

    def __init__(self, front: Any, number: int, truth: dict[tuple[str, int, int], bytes]) -> None:
        self.front, self.number, self._truth = front, number, truth
        self.user, self.device, self.kind = f"demo/u{number % 5}", "d", "web"
        self.session = "session-0"
        self.epoch = number * 1_000
        self.rights = rights_of(None, None)
        self.rooms: tuple[Any, ...] = ()
        self.joining: dict[str, list[Packet]] = {}
        self.watching = None
        self.box = None
        self.seat = None
        self.tags = ()
        self.in_flight = 0
        self.closed = False
        self.address = ""
        self.known: dict[str, tuple[int, int]] = {}
        self.numbers: dict[int, tuple[str, str]] = {}

    def ask(self, op: str, room: str, **fields: Any) -> None:
        """Send one request."""
        number = len(self.numbers) + 1
        self.numbers[number] = (op, room)
        self.front.dispatch(self, Packet(op, number, {"room": room, **fields}))

    def close(self) -> None:
        self.closed = True
        self.front.gone(self, "lost")

    def covered(self, room: Any) -> None:
        """It has no outbox in which a gap could wait."""

    def reply(self, number: int, body: dict[str, Any]) -> None:
        self.send(encode("ok", number, body))

    def refuse(self, number: int, error: RequestError) -> None:
        self.send(encode("error", number, error.body()))

    def push(self, blob: bytes, room: Any, offset: int) -> None:
        self.send(blob)

    def send(self, blob: bytes) -> None:
        while blob and not self.closed:
            end = 4 + struct.unpack(">I", blob[:4])[0]
            op, number, body = msgpack.unpackb(blob[4:end])
            blob = blob[end:]
            if number:
                self._answered(op, number, body)
            elif op == "message":
                self._message(**body)
            elif op == "gap":
                self._gap(**body)

    def _answered(self, op: str, number: int, body: dict[str, Any]) -> None:
        asked, room = self.numbers.pop(number)
        self.numbers[number] = ("", "")
        if op == "ok" and asked == "join":
            if body["recovered"]:
                since, messages = self.known.get(room, (0, 0))[1], body["messages"]
                offsets = [message["offset"] for message in messages]
                first = body["offset"] - len(offsets) + 1
                assert body["more"] or offsets == list(range(first, body["offset"] + 1))
                assert since <= body["offset"]
            self.known[room] = (body["epoch"], body["offset"])
        elif op == "ok" and asked == "leave":
            del self.known[room]

    def _message(self, room: str, offset: int, uid: str, data: Any, time: int) -> None:
        epoch, last = self.known[room]
        assert offset > last, "each at most once, in order"
        assert self._truth[room, epoch, offset] == msgpack.packb(data), "what the world gave that offset"
        self.known[room] = (epoch, offset)

    def _gap(self, room: str, epoch: int, offset: int, reason: str) -> None:
        known, last = self.known[room]
        if reason == "epoch":
            assert epoch != known
        else:
            assert epoch == known
            assert offset > last
        self.known[room] = (epoch, offset)


def process(name: str, links: Any) -> Any:
    """Give what a service needs of its process."""
    logs.setup("error", name, io.StringIO())
    return SimpleNamespace(
        name=name,
        index=int(name[-1]),
        incarnation="0000000000000002-aa",
        term=1,
        settings=SETTINGS,
        places=Places(SETTINGS),
        secrets=Secrets("t" * 32, "r" * 32, "p" * 32),
        links=links,
        callers=None,
        metrics=Metrics(name),
        log=logs.get(),
        tasks=SimpleNamespace(spawn=lambda _name, function, *args: function(*args)),
        thaw=lambda: None,
        state_of=lambda name: "ready",
    )


def key_of(room: str) -> str:
    return f"demo/{room}"


class Scene:
    """Two gateways with two clients each, in both rooms, and a world.

    The public methods are what clients, links and processes may do, each with
    (gateway, a small number, room).
    """

    def __init__(self) -> None:
        self.truth: dict[tuple[str, int, int], bytes] = {}
        self.wires = {name: Wire() for name in GATEWAYS}
        self.gateways = {
            name: Gateway(process(name, GatewayLinks(wire))) for name, wire in self.wires.items()
        }
        self.clock = Clock()
        self.world = self._new_world()
        self.clients: dict[str, list[Client]] = {name: [] for name in GATEWAYS}
        self.numbers = 0
        self.said = 0
        for name in GATEWAYS:
            self._begin(name)
            for which in range(2):
                self.connect(name, which, "")
                for room in ROOMS:
                    self.join(name, which, room)
        self._exchange()

    def _new_world(self) -> World:
        world = World(process(WORLD, WorldLinks(self.wires)))
        self.clock.now += 1
        world.book.clock = self.clock
        publish = world.book.publish

        def noted(room: Any, message: Any) -> None:
            self.truth[room.key.partition("/")[2], room.epoch, message.offset] = message.data
            publish(room, message)

        world.book.publish = noted  # type: ignore[method-assign]
        return world

    # links

    def _begin(self, name: str) -> None:
        """The gateway begins a session, with an empty queue; the world hears of it with the first batch."""
        wire = self.wires[name]
        wire.session += 1
        wire.gateway_up = True
        wire.full_to_world = False
        wire.to_world.append((wire.session, None))
        self.gateways[name].link_up(WORLD)

    def _end(self, name: str) -> None:
        wire = self.wires[name]
        if wire.gateway_up:
            wire.gateway_up = False
            self.gateways[name].link_down(WORLD)

    def _deliver_to_world(self, name: str) -> None:
        wire = self.wires[name]
        session, item = wire.to_world.popleft()
        if session < max(wire.world_session, -wire.world_session + 1):
            return
        if session != wire.world_session:
            if wire.world_session > 0:
                self.world.link_down(name)
            wire.world_session = session
            wire.full_to_gateway = False
            self.world.link_up(name)
        if item is not None:
            self._handle(WORLD_LINK, self.world, name, item)

    def _deliver_to_gateway(self, name: str, number: int) -> None:
        """Hand over some items; what they brought is written at the end of the turn."""
        wire = self.wires[name]
        for _ in range(min(number, len(wire.to_gateway))):
            session, item = wire.to_gateway.popleft()
            if session == wire.session and wire.gateway_up:
                self._handle(GATEWAY_LINK, self.gateways[name], WORLD, item)
        self.gateways[name].link_turn(WORLD)

    def _handle(self, table: Any, service: Any, peer: str, item: bytes) -> None:
        kind, *rest = msgpack.unpackb(item)
        handler = table.get(kind)
        assert handler is not None
        handler(service, SimpleNamespace(name=peer), *rest)

    # clients

    def connect(self, name: str, which: int, room: str) -> None:
        if len(self.clients[name]) < 4:
            self.numbers += 1
            client = Client(self.gateways[name].front, self.numbers, self.truth)
            self.gateways[name].front.connections[client.number] = client  # type: ignore[assignment]
            self.clients[name].append(client)

    def join(self, name: str, which: int, room: str) -> None:
        for client in self.clients[name][which : which + 1]:
            place = client.known.get(room)
            since = {"since": {"epoch": place[0], "offset": place[1]}} if place and self.said % 2 else {}
            client.ask("join", room, presence=bool(client.number % 2), **since)

    def leave(self, name: str, which: int, room: str) -> None:
        for client in self.clients[name][which : which + 1]:
            client.ask("leave", room)

    def publish(self, name: str, which: int, room: str) -> None:
        for client in self.clients[name][which : which + 1]:
            self.said += 1
            client.ask("publish", room, data=self.said)

    def hang_up(self, name: str, which: int, room: str) -> None:
        for client in self.clients[name][which : which + 1]:
            self.clients[name].remove(client)
            client.close()

    # what goes on by itself

    def hear_world(self, name: str, which: int, room: str) -> None:
        self._deliver_to_gateway(name, 1 + which * which)

    def hear_gateway(self, name: str, which: int, room: str) -> None:
        for _ in range(min(1 + which * which, len(self.wires[name].to_world))):
            self._deliver_to_world(name)

    def hear_all(self, name: str, which: int, room: str) -> None:
        for name in GATEWAYS:
            while self.wires[name].to_world:
                self._deliver_to_world(name)
        for name in GATEWAYS:
            self._deliver_to_gateway(name, 10**6)

    def tell(self, name: str, which: int, room: str) -> None:
        self.gateways[name].mirror.tell(WORLD)

    def announce(self, name: str, which: int, room: str) -> None:
        self.gateways[name].mirror.announce_more(WORLD)

    def recount(self, name: str, which: int, room: str) -> None:
        self.gateways[name].mirror.announce(WORLD)

    def digests(self, name: str, which: int, room: str) -> None:
        self.gateways[name].mirror.send_digests()

    def catch_up(self, name: str, which: int, room: str) -> None:
        self.world.catch_up()

    # what goes wrong

    def cut(self, name: str, which: int, room: str) -> None:
        self._end(name)

    def begin_anew(self, name: str, which: int, room: str) -> None:
        self._end(name)
        self._begin(name)

    def world_finds_silent(self, name: str, which: int, room: str) -> None:
        wire = self.wires[name]
        if wire.world_session > 0:
            wire.world_session = -wire.world_session
            wire.to_gateway.clear()
            self.world.link_down(name)

    def queue_to_world(self, name: str, which: int, room: str) -> None:
        self.wires[name].full_to_world = which == 0

    def queue_to_gateway(self, name: str, which: int, room: str) -> None:
        self.wires[name].full_to_gateway = which < 2

    def time_out(self, name: str, which: int, room: str) -> None:
        front = self.gateways[name].front
        front.requests.expire(front.now + 60)

    def long_silence(self, name: str, which: int, room: str) -> None:
        self.clock.now += 13
        self.world.catch_up()

    def give_way(self, name: str, which: int, room: str) -> None:
        held = self.world.book.rooms.get(key_of(room))
        if held is not None:
            self.world.book._give_way(held, lambda key: False)

    def sweep(self, name: str, which: int, room: str) -> None:
        self.clock.now += 601
        self.world.book.sweep(lambda key: False)

    def kill_world(self, name: str, which: int, room: str) -> None:
        for name, wire in self.wires.items():
            wire.world_session = 0
            wire.to_gateway.clear()
            wire.to_world.clear()
            self._end(name)
        self.world = self._new_world()

    # what must be true

    def check(self) -> None:
        """Once all is quiet, everything fits."""
        self._become_quiet()
        self._check_counts()
        self._check_messages()
        self._check_names()

    def check_members(self) -> None:
        """At any moment: who is in a room here is in it once."""
        for name, clients in self.clients.items():
            for client in clients:
                rooms = self.gateways[name].mirror.rooms.values()
                mine = [room.name for room in rooms if client in room.members]  # type: ignore[comparison-overlap]
                assert sorted(mine) == sorted(room.name for room in client.rooms)

    def _become_quiet(self) -> None:
        """Let links be up and hear all there is to say."""
        for name, wire in self.wires.items():
            wire.full_to_world = wire.full_to_gateway = False
            if not wire.gateway_up or wire.world_session <= 0:
                self._end(name)
                self._begin(name)
        self._exchange()
        for gateway in self.gateways.values():
            gateway.front.requests.expire(gateway.front.now + 60)
        self._exchange()
        self._check_counts()
        for _ in range(4):
            for gateway in self.gateways.values():
                gateway.mirror.send_digests()
            self._exchange()

    def _exchange(self) -> None:
        for _ in range(6):
            for name, wire in self.wires.items():
                self.gateways[name].mirror.tell(WORLD)
                for _ in range(len(ROOMS) + 1):
                    self.gateways[name].mirror.announce_more(WORLD)
                while wire.to_world:
                    self._deliver_to_world(name)
            self.clock.now += 1.1
            self.world.catch_up()
            self.world.names.step()
            for name in GATEWAYS:
                self._deliver_to_gateway(name, 10**6)

    def _check_counts(self) -> None:
        for name, gateway in self.gateways.items():
            assert len(gateway.front.requests) == 0
            for room in gateway.mirror.rooms.values():
                assert room.joining == 0
            rooms = [room for room in gateway.mirror.rooms.values() if room.count]
            told = {room.key: (room.count, room.listening) for room in rooms}
            counted = {
                key: room.members[name] for key, room in self.world.book.rooms.items() if name in room.members
            }
            assert counted == told
            assert self.world.counts._digests.get(name, 0) == gateway.mirror.digests.get(WORLD, 0)
        everywhere = [client for clients in self.clients.values() for client in clients]
        assert self.world.book.members == sum(len(client.rooms) for client in everywhere)

    def _check_messages(self) -> None:
        for clients in self.clients.values():
            for client in clients:
                assert {room.name for room in client.rooms} == set(client.known)
                for room, place in client.known.items():
                    held = self.world.book.rooms[key_of(room)]
                    assert place == (held.epoch, held.offset), "it saw all, or knows what it missed"

    def _check_names(self) -> None:
        for room in list(self.world.book.rooms.values()):
            if not room.listening:
                continue
            self.world.names.when_known(room, lambda: None)
            self._exchange()
            here = {
                client.user.partition("/")[2]
                for clients in self.clients.values()
                for client in clients
                if room.key in {each.key for each in client.rooms}
            }
            assert {row[0] for row in self.world.names.listing(room)} == here


OFTEN = ("publish", "publish", "publish", "hear_all", "hear_world", "hear_gateway", "tell", "join")
USUAL = ("announce", "connect", "leave", "hang_up", "hear_all", "catch_up", "give_way", "queue_to_gateway")
SELDOM = ("digests", "recount", "queue_to_world", "time_out", "cut", "begin_anew", "world_finds_silent")
RARE = ("long_silence", "sweep", "kill_world")
WEIGHED = (*(8 * OFTEN), *(4 * USUAL), *(2 * SELDOM), *RARE)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 120))
def test_whatever_happens_to_links_and_processes_counts_fit_and_nothing_goes_missing_unsaid(
    seed: int, count: int
) -> None:
    # A walk by seed meets more than lists of steps would; a failing one is cut to its first steps.
    dice = random.Random(seed)
    with patch.object(mirror, "ANNOUNCED_ROOMS", 1):
        walk(dice, count)


def walk(dice: random.Random, count: int) -> None:
    """Take so many steps, then see whether all fits."""
    scene = Scene()
    for _ in range(count):
        step = getattr(scene, dice.choice(WEIGHED))
        step(dice.choice(GATEWAYS), dice.randrange(4), dice.choice(ROOMS))
        scene.check_members()
    scene.check()
