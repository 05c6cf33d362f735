"""Several processes' links in one: each site has its own name, service and sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import msgpack
import pytest
import zmq.green
from gevent.event import Event

from common.handlers import Handlers
from common.net import links
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.rpc import Context
from common.net.tasks import Tasks
from common.places import Places
from common.rules.lease import Lease
from common.settings import Cluster, Link, Settings
from common.wire.batch import Header, pack_batch, pack_item

FAST = Link(idle_every=0.05, silent_after=0.25, gather_ms=0, queue_bytes=65_536)
FROZEN_AFTER = 100.0

TABLE = Handlers("test links")


class Recorder:
    """A service that remembers what it heard, in order: (what, peer, value)."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.gate = Event()
        self.gate.set()
        self.waiting = False
        self.on_up: Callable[[str], object] = lambda peer: None
        self.on_turn: Callable[[str], object] = lambda peer: None

    def link_up(self, peer: str) -> None:
        self.heard.append(("up", peer))
        self.on_up(peer)

    def link_down(self, peer: str) -> None:
        self.heard.append(("down", peer))

    def link_turn(self, peer: str) -> None:
        self.on_turn(peer)

    def values(self, peer: str) -> list[Any]:
        """Give what items of a peer carried."""
        return [entry[2] for entry in self.heard if entry[:2] == ("item", peer)]

    def turns(self, peer: str) -> list[str]:
        """Give the ups and downs of a peer."""
        return [entry[0] for entry in self.heard if entry[1] == peer and entry[0] != "item"]


@TABLE.on("item")
def item(service: Recorder, peer: links.Peer, value: Any) -> None:
    service.heard.append(("item", peer.name, value))


@TABLE.on("wait")
def wait(service: Recorder, peer: links.Peer) -> None:
    service.waiting = True
    service.gate.wait()
    service.waiting = False


@TABLE.on("raise")
def fail(service: Recorder, peer: links.Peer, error: str) -> None:
    raise {"timeout": gevent.Timeout, "key": KeyError, "value": ValueError}[error]


class Site:
    """One process as links see it."""

    def __init__(
        self, places: Places, name: str, peers: tuple[str, ...], life: int = 1, settings: Link = FAST
    ) -> None:
        self.name = name
        self.places = places
        self.incarnation = f"{life:016x}-00000000"
        self.lease = Lease(FROZEN_AFTER, 0.0)
        self.now = 0.0
        self.deaths: list[str] = []
        self.tasks = Tasks(get_log(), lambda task, error: self.deaths.append(task))
        self.counters = Counters("link")
        self.counters.declare(links.COUNTERS)
        self.service = Recorder()
        self.context = Context()
        self.links = links.Links(
            self.context,
            places,
            name,
            self.incarnation,
            self.lease,
            settings,
            self.tasks,
            self.thaw,
            self.counters,
        )
        self.links.meet(peers)

    def start(self) -> Site:
        self.links.start(self.service, TABLE)
        return self

    def thaw(self) -> None:
        """What a process does before it sends or handles anything."""
        if self.lease.beat(self.now):
            self.links.end_all()

    def freeze(self) -> None:
        """Let the clock say that nothing ran for long."""
        self.now += FROZEN_AFTER + 1

    def send(self, peer: str, value: Any) -> bool:
        return self.links.send(peer, pack_item(["item", value]))

    def header(self, receiver: Site, session: int, number: int, **other: Any) -> Header:
        """Give a header as this site would write it; `other` replaces fields."""
        made = Header(
            self.name,
            self.incarnation,
            self.lease.term,
            receiver.incarnation,
            receiver.lease.term,
            session,
            number,
        )
        return made._replace(**other)

    def stop(self) -> None:
        """End in order."""
        late = self.tasks.stop(2.0)
        self.links.close()
        self.context.destroy(linger=0)
        assert late == []


class Post:
    """Puts anything into the socket of a site."""

    def __init__(self, site: Site) -> None:
        self._context = zmq.green.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.connect(site.places.link_address(site.name))

    def frames(self, *frames: bytes) -> None:
        self._socket.send_multipart(list(frames))

    def batch(self, header: Header, *items: list[Any]) -> None:
        """Send a batch as zerorpc's Pusher would."""
        blob = pack_batch(header, [pack_item(item) for item in items])
        self.frames(msgpack.packb(({"message_id": b"1", "v": 3}, "deliver", (blob,))))

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class Sites:
    """Makes sites and posts of one run folder, and ends them."""

    def __init__(self, run_dir: Path) -> None:
        (run_dir / "sock").mkdir(exist_ok=True)
        self.places = Places(Settings(cluster=Cluster(run_dir=str(run_dir))))
        self._made: list[Site | Post] = []

    def site(self, name: str, *peers: str, life: int = 1, settings: Link = FAST) -> Site:
        """Start a site."""
        made = Site(self.places, name, peers, life, settings)
        self._made.append(made)
        return made.start()

    def idle_site(self, name: str, *peers: str, **more: Any) -> Site:
        """Make a site that is not started yet."""
        made = Site(self.places, name, peers, **more)
        self._made.append(made)
        return made

    def post(self, site: Site) -> Post:
        made = Post(site)
        self._made.append(made)
        return made

    def end(self, made: Site | Post) -> None:
        """End one before the others."""
        self._made.remove(made)
        made.stop() if isinstance(made, Site) else made.close()

    def close(self) -> None:
        for made in list(self._made):
            self.end(made)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run folder short enough for unix sockets."""
    with tempfile.TemporaryDirectory(prefix="roost-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def sites(run_dir: Path) -> Iterator[Sites]:
    """Makes several processes' links in one; all are ended afterwards."""
    made = Sites(run_dir)
    yield made
    made.close()
