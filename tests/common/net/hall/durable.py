"""Durable rooms of a world process over the real Redis, with what may go wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import gevent
import msgpack
import pytest

from common.errors import RequestError
from common.net import log as logs
from common.net import roomlog
from common.net.hall.appender import Appender, Entry
from common.net.store import Store
from common.net.tasks import Tasks
from common.rules.room import Message, Room
from common.settings import RoomRule
from tests.common.net.hall.recording import Clock, RecordingLinks, make_book

ROOM = "demo/plaza/keep.1"
OTHER = "demo/plaza/keep.2"
OWNER = "world-0 0000000000000002-aa 1"


class RealDbservers:
    """What dbserver does for rooms, over the real Redis, with what may go wrong on the way.

    `before` and `after` are called with the method around each call; what they raise is
    the caller's failure.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, Any]] = []
        self.before: Callable[[str, tuple[Any, ...]], None] = lambda method, args: None
        self.after: Callable[[str, tuple[Any, ...]], None] = lambda method, args: None

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        self.calls.append((method, args))
        self.before(method, args)
        result = msgpack.unpackb(
            msgpack.packb(self._carry_out(method, *msgpack.unpackb(msgpack.packb(args))))
        )
        self.after(method, args)
        return result

    def _carry_out(self, method: str, *args: Any) -> Any:
        if method == "room_load":
            return roomlog.load(self.store, *args)
        owner, appends = args
        return roomlog.append(self.store, owner, [roomlog.Append(*one) for one in appends])

    def of(self, method: str) -> list[Any]:
        """Give the arguments of the calls of one method so far."""
        return [args for name, args in self.calls if name == method]


class Scene:
    """The durable rooms of a world process with one gateway that hears everything."""

    def __init__(self, store: Store, owner: str = OWNER, limit: int = 1_000_000, **rule: Any) -> None:
        logs.setup("error", "world-0")
        self.owner = owner
        self.links, self.clock = RecordingLinks(), Clock()
        rules = [RoomRule("plaza/keep.*", durable=True, **rule)] if rule else []
        self.book = make_book(self.links, self.clock, *rules)
        self.dbservers = RealDbservers(store)
        self.tasks = Tasks(logs.get())
        self.appender = Appender(
            self.book,
            self.dbservers,  # type: ignore[arg-type]
            lambda: self.owner,
            self.tasks,
            limit,
        )
        self.tasks.spawn("appender", self.appender.run)
        self.outcomes: dict[str, Message | RequestError] = {}
        self._numbers = count()

    def room(self, key: str = ROOM) -> Room:
        """Give a room with a member, so that what it says is heard."""
        room = self.book.room(key)
        if not room.members:
            self.book.set_members(room, "gateway-0", 1, 0)
        return room

    def publish(self, text: str, key: str = "", room: str = ROOM, uid: str = "ann") -> str:
        """Publish; give the name its outcome will be under."""
        name = f"{text}#{next(self._numbers)}"

        def done(outcome: Message | RequestError) -> None:
            assert name not in self.outcomes, "told twice"
            self.outcomes[name] = outcome

        self.appender.publish(self.room(room), Entry(uid, key, text.encode(), now_ms(), done))
        return name

    def wait(self, *names: str) -> list[Any]:
        """Wait for outcomes; give the offset of each, or the error's code."""
        until(lambda: all(name in self.outcomes for name in names))
        outcomes = [self.outcomes[name] for name in names]
        return [o.code if isinstance(o, RequestError) else o.offset for o in outcomes]

    def say(self, *texts: str, **options: Any) -> list[Any]:
        """Publish one after the other and wait for all."""
        return self.wait(*[self.publish(text, **options) for text in texts])

    def load(self, key: str = ROOM) -> list[str]:
        """Have a room loaded; give "ok" or the error's code."""
        ended: list[str] = []
        room = self.room(key)
        self.appender.loader.when_loaded(
            room, lambda: ended.append("ok"), lambda error: ended.append(error.code)
        )
        until(lambda: bool(ended))
        return ended

    def heard(self) -> list[tuple[int, str]]:
        """Give (offset, text) of the messages sent to the gateway since the last time."""
        return [(item[2], item[4].decode()) for _, item in self.links.take("m")]

    def stored(self, key: str = ROOM) -> list[tuple[int, str]]:
        """Give (offset, text) of what Redis has."""
        entries = self.dbservers.store.call("XRANGE", roomlog.keys(key)[1], "-", "+")
        return [(int(name.partition(b"-")[0]), fields[5].decode()) for name, fields in entries]


def now_ms() -> int:
    return int(time.time() * 1000)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        gevent.sleep(0.002)


MakeScene = Callable[..., Scene]


def raising(error: Exception, method: str, times: int = 1) -> Callable[[str, tuple[Any, ...]], None]:
    """Give a hook that fails the first calls of a method."""
    left = [times]

    def hook(name: str, _args: tuple[Any, ...]) -> None:
        if name == method and left[0]:
            left[0] -= 1
            raise error

    return hook


@pytest.fixture
def make_scene(store: Store) -> Iterator[Callable[..., Scene]]:
    """Make scenes over the shared Redis (or a store given); their greenlets end afterwards."""
    scenes: list[Scene] = []

    def make(on: Store = store, **options: Any) -> Scene:
        scenes.append(Scene(on, **options))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.tasks.stop(1.0)


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()
