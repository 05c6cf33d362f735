"""The data path between processes: one ordered stream per pair and direction.

Items are packed lists `[kind, ...]`. What gathers for a peer goes as one batch, one
`bytes` argument of a zerorpc Pusher; the peer's Puller only queues it, and one
greenlet per peer hands the items, in order, to `handler(service, peer, *rest)`.
When streams start anew is decided in common/rules/streams.py.

The service hears of a stream's end and beginning in that same greenlet, in order with
the items: `link_down`, `link_up`, then items of the new stream only. `link_up` brings
the other side up to date; nothing can be sent to the peer before it is called.

Bounds: what waits for a peer (`queue_bytes`; `send` gives False above it) and what
has arrived and waits to be handled (the same; above it the stream starts anew).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import gevent
import msgpack
import zerorpc
import zmq.green
from gevent import sleep

from common.errors import BadPacket
from common.handlers import Handlers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.peer import Peer as Peer
from common.net.rpc import Context, on_death
from common.net.tasks import Tasks
from common.net.turns import Turns
from common.places import Places
from common.rules.lease import Lease
from common.rules.streams import Verdict
from common.settings import Link
from common.wire.batch import pack_batch, unpack_batch

HIGH_WATER = 4
"""Batches zmq may hold per peer: small, since what it holds is lost to a dead peer."""

RECONNECT_MS = 500
"""Longest pause between two tries to reach a peer."""

LOOK = 16
"""Items handled between two looks at the clock."""

REST = 1.0
"""Seconds a peer is not listened to after its link_up, link_down or link_turn failed."""

FLUSH_STEP = 0.01

COUNTERS = {
    "restarts": "streams that ended, to begin anew when the peer is there",
    "dropped": "items refused because the peer was down or its queue full",
    "discarded": "items thrown away unsent or unhandled when their stream ended",
    "batches_out": "batches sent, idle ones too",
    "batches_in": "batches received, of whatever kind",
    "items_out": "items sent",
    "items_in": "items handled",
    "failed": "items whose handler raised, or of unknown kind",
    "refused": "batches that could not be read, or of a process that is no peer",
}


class Service(Protocol):
    """What a process does about its links; none of it may switch greenlets for long."""

    def link_up(self, peer: str) -> None:
        """A stream began: nothing said before may be taken for granted."""

    def link_down(self, peer: str) -> None:
        """The stream ended: what was not answered will not be."""

    def link_turn(self, peer: str) -> None:
        """All that had arrived from this peer has been handled."""


class Direct:
    """Sends in the calling greenlet, where zerorpc would in one that cannot be killed while it waits."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    def __call__(self, parts: tuple[bytes], timeout: float | None = None) -> None:
        self._socket.send(parts[0], copy=False)


class Pusher(zerorpc.Pusher):  # type: ignore[misc]
    """A Pusher without a greenlet of its own; a full or dead peer blocks the caller."""

    def __init__(self, context: Context, address: str) -> None:
        super().__init__(context=context)
        self._events._send.close()
        self._events._send = Direct(self._events._socket)
        self._events.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._events.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS)
        self.connect(address)


class Puller(zerorpc.Puller):  # type: ignore[misc]
    """A Puller that outlives whatever is sent to it, and hides no defect behind that."""

    def __init__(self, context: Context, address: str, deliver: Callable[[memoryview], None]) -> None:
        super().__init__({}, context=context)
        self._deliver = deliver
        self._events.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self.bind(address)

    def run(self) -> None:
        """Hand over each event as it is, in the calling greenlet, for ever."""
        while True:
            frames = self._events._recv()
            self._deliver(frames[-1].buffer)


class Links:
    """All streams of this process.

    Args:
        context: the process's one Context.
        places: where everybody is.
        own_name, incarnation, lease: who sends; the term is the lease's.
        settings: bounds and times.
        tasks: owner of the greenlets.
        thaw: called before anything is sent or handled; fences the process when it was frozen.
        counters: those of COUNTERS.
    """

    def __init__(
        self,
        context: Context,
        places: Places,
        own_name: str,
        incarnation: str,
        lease: Lease,
        settings: Link,
        tasks: Tasks,
        thaw: Callable[[], None],
        counters: Counters,
    ) -> None:
        self._context = context
        self._places = places
        self._own_name = own_name
        self._incarnation = incarnation
        self._lease = lease
        self._settings = settings
        self._look_every = settings.idle_every / 2
        self._tasks = tasks
        self._thaw = thaw
        self._counters = counters
        self._table = Handlers("no links")
        self._service: Service
        self._peers: dict[str, Peer] = {}
        self._log = get_log()
        self._refusals = Doubling()
        self._failures: defaultdict[str, Doubling] = defaultdict(Doubling)
        self._puller: Any = None
        self._turns = Turns()

    def meet(self, names: Iterable[str]) -> None:
        """Name the processes to keep links with; both sides must name each other. All are down yet."""
        for name in names:
            self._peers[name] = Peer(self._own_name, name)

    def start(self, service: Service, table: Handlers) -> None:
        """Bind, and open a stream to each peer.

        Args:
            service: hears of streams; goes to each handler first.
            table: kind -> handler.
        """
        self._service, self._table = service, table
        for peer in self._peers.values():
            self._connect(peer)
        self._puller = Puller(self._context, self._places.link_address(self._own_name), self._deliver)
        puller = self._tasks.spawn("link puller", self._puller.run, core=True)
        on_death(self._puller, lambda _: puller.kill(block=False))
        self._tasks.every("link silence", self._look_every, self._notice_silence)

    def _connect(self, peer: Peer) -> None:
        peer.pusher = Pusher(self._context, self._places.link_address(peer.name))
        peer.wake.set()
        self._tasks.spawn(f"link to {peer.name}", self._send_loop, peer, core=True)
        self._tasks.spawn(f"link from {peer.name}", self._handle_loop, peer, core=True)

    def send(self, name: str, item: bytes) -> bool:
        """Queue one packed item; does not switch.

        Returns:
            False, and nothing queued, when the peer is down or its queue is full.
        """
        peer = self._peers[name]
        if not peer.up or not peer.queue(item, self._settings.queue_bytes):
            self._counters.dropped += 1
            return False
        return True

    def up(self, name: str) -> bool:
        """Tell whether items can be sent to a peer."""
        return self._peers[name].up

    def queued_bytes(self) -> int:
        """Give what waits in all queues, both ways."""
        return sum(peer.outgoing_bytes + peer.arrived_bytes for peer in self._peers.values())

    def missing(self) -> list[str]:
        """Name the peers that are not up."""
        return [name for name, peer in self._peers.items() if not peer.up]

    def end_all(self) -> None:
        """End every stream; each begins anew by itself. Does not switch."""
        for peer in self._peers.values():
            self._end(peer)
            peer.wake.set()

    def flush(self, seconds: float) -> None:
        """Wait until all that is queued was handed to zmq, at most so long."""
        until = time.monotonic() + seconds
        while any(peer.outgoing for peer in self._peers.values()) and time.monotonic() < until:
            sleep(FLUSH_STEP)
        sleep(FLUSH_STEP)

    def close(self) -> None:
        """Close all sockets; their owner has ended the greenlets before."""
        for peer in self._peers.values():
            if peer.pusher is not None:
                peer.pusher.close()
        if self._puller is not None:
            self._puller.close()

    # sending

    def _send_loop(self, peer: Peer) -> None:
        gather = self._settings.gather_ms / 1000
        sent_at = 0.0
        while True:
            peer.wake.wait(self._settings.idle_every)
            wait = sent_at + gather - time.monotonic()
            if peer.outgoing and wait > 0:
                sleep(wait)
            peer.wake.clear()
            self._thaw()
            sent_at = time.monotonic()
            peer.pusher("deliver", self._next_batch(peer))

    def _next_batch(self, peer: Peer) -> bytes:
        """Take what fits one batch off the queue; an empty batch is a sign of life."""
        header = peer.stream.next_header(self._own_name, self._incarnation, self._lease.term)
        items = peer.take(self._settings.batch_bytes)
        self._counters.batches_out += 1
        self._counters.items_out += len(items)
        return pack_batch(header, items)

    # receiving

    def _deliver(self, event: bytes | memoryview) -> None:
        """Judge a batch and queue its items; never blocks."""
        self._thaw()
        self._counters.batches_in += 1
        try:
            _, _, (blob,) = msgpack.unpackb(event)
            header, items = unpack_batch(blob)
            peer = self._peers[header.sender]
        except (BadPacket, KeyError, TypeError, ValueError) as error:
            self._refuse(error)
            return
        if time.monotonic() < peer.deaf_until:
            return
        stream = peer.stream
        before = (stream.open, stream.begun)
        verdict = stream.receive(header, self._incarnation, self._lease.term)
        if verdict is Verdict.STALE:
            return
        if (stream.open, stream.begun) != before:
            self._turn_over(peer)
        if not stream.peer_knows_us or verdict is Verdict.BROKEN:
            peer.wake.set()
        if verdict in (Verdict.NEW, Verdict.NEXT) and items:
            self._queue_items(peer, items, len(blob))

    def _refuse(self, error: Exception) -> None:
        self._counters.refused += 1
        if self._refusals.hit():
            self._log.warning("link batch refused", error=repr(error), count=self._refusals.count)

    def _queue_items(self, peer: Peer, items: list[list[Any]], size: int) -> None:
        if not peer.arrive(items, size, self._settings.queue_bytes):
            self._log.warning("link queue overflow", peer=peer.name, bytes=peer.arrived_bytes)
            self._end(peer)
            peer.wake.set()

    def _end(self, peer: Peer) -> None:
        if peer.stream.open:
            peer.stream.close()
            self._turn_over(peer)

    def _turn_over(self, peer: Peer) -> None:
        """A stream ended or began: what waits belongs to none; have the service told."""
        self._counters.discarded += peer.clear()
        peer.arrived.set()

    def _notice_silence(self) -> None:
        """End streams of peers not heard for so many looks, between which this process did listen.

        Its own standstill, however long, is one look: what peers said meanwhile is heard before the next.
        """
        limit = self._settings.silent_after / self._look_every
        for peer in self._peers.values():
            if peer.stream.look() > limit and peer.stream.open:
                self._log.warning("peer is silent", peer=peer.name)
                self._end(peer)

    # handling

    def _handle_loop(self, peer: Peer) -> None:
        while True:
            peer.arrived.wait()
            peer.arrived.clear()
            self._tell(peer)
            self._handle_slice(peer)
            self._guarded(peer, self._service.link_turn)
            if peer.incoming:
                peer.arrived.set()
                sleep(0)

    def _tell(self, peer: Peer) -> None:
        """Let the service hear that a stream ended, or began, or both."""
        stream = peer.stream
        if peer.told and not peer.up:
            peer.told = 0
            self._counters.restarts += 1
            self._log.info("link down", peer=peer.name)
            self._guarded(peer, self._service.link_down)
        if stream.open and not peer.told:
            peer.told = stream.begun
            self._log.info("link up", peer=peer.name, incarnation=peer.incarnation, session=stream.session)
            self._guarded(peer, self._service.link_up)
            peer.wake.set()

    def _guarded(self, peer: Peer, callback: Callable[[str], None]) -> None:
        """Call the service; where it fails its state is not known, so the stream ends for a while."""
        try:
            callback(peer.name)
        except (Exception, gevent.Timeout):  # noqa: BLE001 - the guard of the links, as for items
            self._log.exception("link callback failed", peer=peer.name, callback=callback.__name__)
            peer.deaf_until = time.monotonic() + REST
            self._end(peer)

    def _handle_slice(self, peer: Peer) -> None:
        yield_at = self._turns.begin()
        while peer.incoming and peer.up and time.monotonic() < yield_at:
            items = peer.next_items()
            handled = self._handle(peer, items, yield_at)
            if peer.up and handled < len(items):
                peer.put_back(items[handled:])
            else:
                self._counters.discarded += len(items) - handled
        self._turns.end()

    def _handle(self, peer: Peer, items: list[list[Any]], yield_at: float) -> int:
        """Handle items until the time is over or the stream ends; give how many that were."""
        for index, item in enumerate(items):
            if index % LOOK == 0:
                if index and time.monotonic() > yield_at:
                    return index
                self._thaw()
            if not peer.up:
                return index
            self._handle_item(peer, item)
        return len(items)

    def _handle_item(self, peer: Peer, item: list[Any]) -> None:
        handler = self._table.get(item[0])
        if handler is None:
            self._fail(peer, "", f"no handler for {item[0]!r}")
            return
        try:
            handler(self._service, peer, *item[1:])
            self._counters.items_in += 1
        except (Exception, gevent.Timeout) as error:  # noqa: BLE001 - one bad item must not end the rest
            self._fail(peer, item[0], error)

    def _fail(self, peer: Peer, kind: str, error: BaseException | str) -> None:
        """Count and tell of an item that was not handled; of each kind at 1, 2, 4, 8 … times."""
        self._counters.failed += 1
        failures = self._failures[kind]
        if failures.hit():
            facts = {"error": error} if isinstance(error, str) else {"exc_info": error}
            self._log.error("link item failed", peer=peer.name, kind=kind, count=failures.count, **facts)
