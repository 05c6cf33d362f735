"""Maps without processes: a stage, gateways' views, and clients that believe what they are told."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent

from common.errors import RequestError
from common.net import log as logs
from common.net.front.front import COUNTERS
from common.net.front.told import TOLD
from common.net.front.views import Views
from common.net.metrics import Metrics
from common.net.stage.calls import MAPS
from common.net.stage.stage import Stage, Ways
from common.rules.hosting import Hosting
from common.rules.owner import stands
from common.settings import World as WorldSettings
from common.wire.codec import decode, unpack
from common.wire.framing import SERVER_LIMIT, cut
from tests.common.net.hall.recording import Clock
from tests.common.net.stage.shelf import Shelf
from tests.common.rules.beholder import Beholder
from worlds.actions import Field, action, method
from worlds.space import Player, Space

KEY = "demo/field/0.1"
SIZE = 60


class Plain(Space):
    """Players put themselves where they like."""

    width = height = SIZE
    view = 10

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        if isinstance(data, list):
            player.x, player.y = data
        return {"hello": player.uid}

    @action("go", Field("x", "number", low=-10, high=99), Field("y", "number", low=-10, high=99))
    def go(self, player: Player, x: float, y: float) -> None:
        self.move(player, x, y)

    @action("break")
    def fail(self, player: Player) -> None:
        raise ZeroDivisionError

    @method("where")
    def where(self, player: Player) -> list[float]:
        return [player.x, player.y]

    @method("break")
    def broken(self, player: Player) -> None:
        raise ZeroDivisionError

    @method("odd")
    def odd(self, player: Player) -> object:
        return object()


class Client:
    """A connection, as far as views see it, with its client behind it.

    Attributes:
        slow: it takes nothing.
        heard: (op, body) of all but the `state` of cells.
    """

    def __init__(self, number: int, uid: str) -> None:
        self.number = number
        self.user = f"demo/{uid}"
        self.seat: Any = None
        self.eyes = Beholder()
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.slow = False
        self._skipped: dict[Any, int] = {}

    def send(self, frame: bytes) -> None:
        self._take(frame)

    def push(self, blob: bytes, source: Any, offset: int, own: bytes = b"") -> None:
        if self.slow or source in self._skipped:
            self._skipped[source] = offset
        else:
            self._take(blob + own)

    def _take(self, frames: bytes) -> None:
        bodies, rest = cut(frames, SERVER_LIMIT)
        assert rest == b""
        for packet in map(decode, bodies):
            if "cell" in packet.body:
                self.eyes.take(packet.body)
                self.heard += [("event", event) for event in packet.body.get("events", ())]
            else:
                self.heard.append((packet.op, packet.body))
            if packet.op == "entered":
                self.eyes = Beholder()

    def missed(self, source: Any) -> bool:
        return source in self._skipped

    def covered(self, source: Any) -> None:
        self._skipped.pop(source, None)

    def catch_up(self) -> None:
        """Read again."""
        self.slow = False
        skipped, self._skipped = self._skipped, {}
        for source, offset in skipped.items():
            source.caught_up(self, offset)

    def take_heard(self) -> list[tuple[str, dict[str, Any]]]:
        heard, self.heard = self.heard, []
        return heard


class Play:
    """A stage, two gateways, and links between them that deliver at once, are full, or down.

    Gateways let others run whenever they may.
    """

    def __init__(
        self,
        make_space: Callable[[str, Any], Space] = Plain,
        full: int = 100,
        idle: float = 30.0,
        **world: Any,
    ) -> None:
        self.log = io.StringIO()
        logs.setup("info", "world-0", self.log)
        self.clock = Clock()
        self.full: set[str] = set()
        self.down: set[str] = set()
        self.sent: list[tuple[str, list[Any]]] = []
        self.tasks = SimpleNamespace(spawn=self._spawn)
        self.metrics = Metrics("world-0")
        self.clients: dict[tuple[str, int], Client] = {}
        self.shelf = Shelf()
        self.lives = 0
        counters = Metrics("gateway-0").area("gateway", COUNTERS)
        self.views: dict[str, Views] = {}
        self._fronts: dict[str, Any] = {}
        for gateway in ("gateway-0", "gateway-1"):
            links = SimpleNamespace(send=self._to_world(gateway), up=lambda name: True)
            self.views[gateway] = Views(links, 0.0, counters)  # type: ignore[arg-type]
            self._fronts[gateway] = SimpleNamespace(
                views=self.views[gateway],
                connections={},
                process=SimpleNamespace(links=links, places=SimpleNamespace(host_of=lambda *_: "world-0")),
            )
        self._make_space, self._world = make_space, world
        self._full, self._idle = full, idle
        self.ticks = 0
        self.moves: list[Any] = []
        self._storing = False
        self.called: list[Any] = []
        self.other_world: Any = "world-1 0000000000000009-aa 1"
        self.stage = self.new_stage()

    def new_stage(self) -> Stage:
        """Give a stage that knows nothing: the next life of its world process."""
        self.metrics = Metrics("world-0")
        self.lives += 1
        owner = f"world-0 {self.lives:016x}-aa 1"
        ways = Ways(
            self.shelf,  # type: ignore[arg-type]
            SimpleNamespace(call=self._to_other_world),
            lambda: owner,
            lambda text: stands(text, owner, {}, ("world-0", "world-1")),
            lambda area, uid: (f"{area}/0.1", "world-1"),
        )
        return Stage(
            self._make_space,
            Hosting(0, self._full, copies=10, idle=self._idle, hold=self._idle),
            WorldSettings(**self._world),
            ways,
            SimpleNamespace(send=self._to_gateway, up=lambda name: name not in self.down),  # type: ignore[arg-type]
            self.tasks,  # type: ignore[arg-type]
            self.metrics,
            logs.get(),
            lambda: None,
            self.clock,
        )

    def _spawn(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        if name.startswith("move "):
            self.moves.append(gevent.spawn(function, *args))

    @property
    def counters(self) -> Any:
        return self.metrics.area("stage")

    @property
    def space(self) -> Any:
        return self.stage.lines[KEY].space

    def _to_gateway(self, gateway: str, item: bytes) -> bool:
        if gateway in self.full | self.down:
            return False
        kind, *rest = unpack(item)
        self.sent.append((gateway, [kind, *rest]))
        handler = TOLD.get(kind)
        assert handler is not None
        handler(self._fronts[gateway], SimpleNamespace(name="world-0"), *rest)
        return True

    def _to_other_world(self, world: str, method: str, *args: Any) -> Any:
        self.called.append((world, method, args))
        answer = self.other_world
        if isinstance(answer, RequestError):
            raise answer
        return answer

    def _to_world(self, gateway: str) -> Callable[[str, bytes], bool]:
        def send(world: str, item: bytes) -> bool:
            if gateway in self.down:
                return False
            kind, *rest = unpack(item)
            handler = MAPS.get(kind)
            assert handler is not None
            handler(self.stage, SimpleNamespace(name=gateway), *rest)
            self.store()
            return True

        return send

    def enter(
        self, uid: str, data: Any = None, gateway: str = "gateway-0", number: int = 0, key: str = KEY
    ) -> Client:
        """Let a user enter; give its client."""
        client, told = self.begin_enter(uid, data, gateway, number, key)
        self.store()
        if isinstance(told[0], RequestError):
            self.views[gateway].leave(client)  # type: ignore[arg-type]
            raise told[0]
        return client

    def begin_enter(
        self, uid: str, data: Any = None, gateway: str = "gateway-0", number: int = 0, key: str = KEY
    ) -> tuple[Client, list[Any]]:
        """Have a client ask to enter; give it, and where its answer comes."""
        number = number or len(self.clients) + 1
        client = self.clients[gateway, number] = Client(number, uid)
        views, told = self.views[gateway], []
        seat = views.take(client, key, "world-0", data)  # type: ignore[arg-type]

        def entered(value: list[Any]) -> None:
            body, columns, rows, key, route = value
            told.append(body)
            views.placed(seat, columns, rows, key, "world-0", route)
            client.heard.append(("ok", body))

        self._fronts[gateway].connections[number] = client
        try:
            self.stage.seats.enter(gateway, number, key, uid, data, entered, told.append)
        except RequestError as error:
            told.append(error)
        return client, told

    def store(self, turns: int = 4) -> None:
        """Let storage carry out what is under way."""
        if self._storing:
            return
        self._storing = True
        for _ in range(turns):
            self.stage.keeper.step()
        self._storing = False

    def exit(self, client: Client, gateway: str = "gateway-0", lost: bool = False) -> None:
        """Let a client leave, or break off."""
        self._fronts[gateway].connections.pop(client.number)
        self.views[gateway].lost(client, not lost)  # type: ignore[arg-type]

    def leave(self, gateway: str, number: int) -> None:
        """A connection plays no more."""
        self.stage.seats.exit(gateway, number, False, lambda: None)
        self.store()

    def call(self, gateway: str, number: int, method: str, args: Any) -> Any:
        """Give what a method answers, or raise why it does not."""
        told: list[Any] = []
        self.stage.seats.call(gateway, number, method, args, told.append, told.append)
        if isinstance(told[0], RequestError):
            raise told[0]
        return told[0]

    def step(self) -> None:
        """What happens each second."""
        self.stage.step()
        self.store()

    def input(self, client: Client, n: int, data: Any, gateway: str = "gateway-0") -> None:
        self.stage.seats.input(gateway, client.number, n, data)

    def tick(self, seconds: float = 0.1) -> None:
        """Let a tick of all lines pass."""
        self.ticks += 1
        for line in list(self.stage.lines.values()):
            line.step(self.ticks, seconds)

    def truth(self, uid: str) -> dict[int, list[Any]]:
        """Give what a player's client should know: id -> [kind, x, y, data]."""
        interest = self.space.interest
        watched = interest.grid.around(self.space.players[uid].centre)
        return {
            one.id: [one.kind, one.x, one.y, one.data]
            for one in interest.entities.values()
            if interest.grid.cell(one.x, one.y) in watched
        }
