"""The data path between processes: one ordered stream per pair and direction.

Items are packed lists `[kind, ...]`. What gathers for a peer goes as one batch, one
`bytes` argument of a zerorpc Pusher; the peer's Puller only queues it, and one
greenlet per peer hands the items, in order, to `handler(service, peer, *rest)`.
When streams start anew is decided in common/rules/streams.py.

One greenlet sends for all peers, so a batch costs no switch of its own. What zmq does not
take at once, since that peer does not read, waits in a greenlet of its peer's.

The service hears of a stream's end and beginning in that same greenlet, in order with
the items: `link_down`, `link_up`, then items of the new stream only. `link_up` brings
the other side up to date; nothing can be sent to the peer before it is called.

Bounds: what waits for a peer (`queue_bytes`; `send` gives False above it) and what
has arrived and waits to be handled (the same; above it the stream starts anew).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import zerorpc
import zmq
from gevent import sleep
from gevent.event import Event

from common.errors import BadPacket
from common.handlers import Handlers
from common.net.handling import Handling, Service
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.pace import SLICE_SECONDS
from common.net.peer import Peer as Peer
from common.net.rpc import Context
from common.net.tasks import Tasks
from common.places import Places
from common.rules.lease import Lease
from common.rules.streams import Verdict
from common.settings import Link
from common.wire.batch import pack_batch, pack_event, unpack_batch, unpack_event

HIGH_WATER = 4
"""Batches zmq may hold per peer: small, since what it holds is lost to a dead peer."""

RECONNECT_MS = 500
"""Longest pause between two tries to reach a peer."""

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


class Pusher(zerorpc.Pusher):  # type: ignore[misc]
    """A Pusher that sends one kind of event, in the calling greenlet.

    zerorpc's own way sends in a greenlet that cannot be killed while it waits.
    """

    def __init__(self, context: Context, address: str) -> None:
        super().__init__(context=context)
        self._events._send.close()
        self._socket = self._events._socket
        self._socket.rest()
        self._events.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._events.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MS)
        self.connect(address)

    def push(self, event: bytes) -> bool:
        """Send an event; False when there is no space for it. Does not switch."""
        try:
            self._socket.send_now(event)
        except zmq.Again:
            return False
        return True

    def push_later(self, event: bytes) -> None:
        """Send an event as soon as there is space for it."""
        while not self.push(event):
            self._socket.wait_write()


class Puller(zerorpc.Puller):  # type: ignore[misc]
    """A Puller that outlives whatever is sent to it, and hides no defect behind that."""

    def __init__(self, context: Context, address: str, deliver: Callable[[memoryview], None]) -> None:
        super().__init__({}, context=context)
        self._events._recv.close()
        self._socket = self._events._socket
        self._deliver = deliver
        self._events.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self.bind(address)

    def run(self) -> None:
        """Hand over each event as it is, in the calling greenlet, for ever."""
        yield_at = 0.0
        while True:
            frames = self._socket.receive_now()
            if frames is None:
                self._socket.wait_read()
                yield_at = time.monotonic() + SLICE_SECONDS
                continue
            self._deliver(frames[-1].buffer)
            if time.monotonic() > yield_at:
                sleep(0)
                yield_at = time.monotonic() + SLICE_SECONDS


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
        self._peers: dict[str, Peer] = {}
        self._log = get_log()
        self._refusals = Doubling()
        self._puller: Any = None
        self._due: list[Peer] = []
        self._flush = Event()

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
        handling = Handling(service, table, self._thaw, self._end, self._speak, self._counters)
        for peer in self._peers.values():
            peer.pusher = Pusher(self._context, self._places.link_address(peer.name))
            self._speak(peer)
            self._tasks.spawn(f"link from {peer.name}", handling.run, peer, core=True)
        self._puller = Puller(self._context, self._places.link_address(self._own_name), self._deliver)
        self._tasks.spawn("link puller", self._puller.run, core=True)
        self._tasks.spawn("link sender", self._send_loop, core=True)
        self._tasks.every("link silence", self._look_every, self._notice_silence)

    def send(self, name: str, item: bytes) -> bool:
        """Queue one packed item; does not switch.

        Returns:
            False, and nothing queued, when the peer is down or its queue is full.
        """
        peer = self._peers[name]
        if not peer.up or not peer.queue(item, self._settings.queue_bytes):
            self._counters.dropped += 1
            return False
        if not peer.due:
            self._speak(peer)
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
            self._speak(peer)

    def flush(self, seconds: float) -> None:
        """Wait until all that is queued was handed to zmq, at most so long."""
        until = time.monotonic() + seconds
        while any(map(_owes, self._peers.values())) and time.monotonic() < until:
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

    def _speak(self, peer: Peer) -> None:
        """Have a batch sent soon, an empty one if need be. Does not switch."""
        if not peer.due:
            peer.due = True
            self._due.append(peer)
            self._flush.set()

    def _send_loop(self) -> None:
        wait: float | None = None
        while True:
            self._flush.wait(wait)
            self._flush.clear()
            self._thaw()
            wait = self._send_due(time.monotonic())

    def _send_due(self, now: float) -> float | None:
        """Send to who is due; give the seconds until the next one is, None: nobody.

        What comes within `gather_ms` of a batch waits for that time to pass.
        """
        gather, wait = self._settings.gather_ms / 1000, None
        due, self._due = self._due, []
        for peer in due:
            left = peer.sent_at + gather - now
            if peer.outgoing and left > 0:
                self._due.append(peer)
                wait = left if wait is None else min(wait, left)
                continue
            peer.due = False
            if peer.stuck is None:
                self._send_batch(peer, now)
            if time.monotonic() - now > SLICE_SECONDS:
                sleep(0)
                self._thaw()
                now = time.monotonic()
        return wait

    def _send_batch(self, peer: Peer, now: float) -> None:
        """Send the next batch; where zmq does not take it a greenlet of the peer's waits until it does."""
        peer.sent_at = now
        event = pack_event(self._next_batch(peer))
        if peer.outgoing:
            self._speak(peer)
        if not peer.pusher.push(event):
            peer.stuck = event
            self._tasks.spawn(f"link to {peer.name}", self._send_stuck, peer)

    def _send_stuck(self, peer: Peer) -> None:
        peer.pusher.push_later(peer.stuck)
        peer.stuck = None
        self._speak(peer)

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
            blob = unpack_event(event)
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
            self._speak(peer)
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
            self._speak(peer)

    def _end(self, peer: Peer) -> None:
        if peer.stream.open:
            peer.stream.close()
            self._turn_over(peer)

    def _turn_over(self, peer: Peer) -> None:
        """A stream ended or began: what waits belongs to none; have the service told."""
        self._counters.discarded += peer.clear()
        peer.arrived.set()

    def _notice_silence(self) -> None:
        """Give a sign of life to who was not spoken to for `idle_every`; end streams of silent peers.

        Silent is who was not heard for so many looks, between which this process did listen. Its own
        standstill, however long, is one look: what peers said meanwhile is heard before the next.
        """
        limit = self._settings.silent_after / self._look_every
        spoken = time.monotonic() - 1.5 * self._look_every
        for peer in self._peers.values():
            if peer.sent_at < spoken:
                self._speak(peer)
            if peer.stream.look() > limit and peer.stream.open:
                self._log.warning("peer is silent", peer=peer.name)
                self._end(peer)


def _owes(peer: Peer) -> bool:
    return bool(peer.outgoing) or (peer.up and peer.stuck is not None)
