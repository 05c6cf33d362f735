"""What arrives by links is handed to a process's service, peer by peer, in order.

One greenlet per peer hands over its items, and tells of its stream's end and beginning in
between; so one that takes long holds up its own peer only. Others get their turn meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent import sleep

from common.handlers import Handlers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.metrics import Counters
from common.net.peer import Peer

SLICE = 0.002
"""Seconds of handling after which other greenlets get their turn."""

LOOK = 16
"""Items handled between two looks at the clock."""

REST = 1.0
"""Seconds a peer is not listened to after its link_up, link_down or link_turn failed."""


class Service(Protocol):
    """What a process does about its links; none of it may switch greenlets for long."""

    def link_up(self, peer: str) -> None:
        """A stream began: nothing said before may be taken for granted."""

    def link_down(self, peer: str) -> None:
        """The stream ended: what was not answered will not be."""

    def link_turn(self, peer: str) -> None:
        """All that had arrived from this peer has been handled."""


class Handling:
    """Hands over what has arrived.

    Args:
        service: hears of streams; goes to each handler first.
        table: kind -> handler.
        thaw: called before anything is handled.
        end: ends a peer's stream.
        speak: has a peer sent a batch soon.
        counters: those of links.COUNTERS.
    """

    def __init__(
        self,
        service: Service,
        table: Handlers,
        thaw: Callable[[], None],
        end: Callable[[Peer], None],
        speak: Callable[[Peer], None],
        counters: Counters,
    ) -> None:
        self._service = service
        self._table = table
        self._thaw = thaw
        self._end = end
        self._speak = speak
        self._counters = counters
        self._log = get_log()
        self._failures: defaultdict[str, Doubling] = defaultdict(Doubling)

    def run(self, peer: Peer) -> None:
        """Hand over what comes from a peer, for ever."""
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
            self._speak(peer)

    def _guarded(self, peer: Peer, callback: Callable[[str], None]) -> None:
        """Call the service; where it fails its state is not known, so the stream ends for a while."""
        try:
            callback(peer.name)
        except (Exception, gevent.Timeout):  # noqa: BLE001 - the guard of the links, as for items
            self._log.exception("link callback failed", peer=peer.name, callback=callback.__name__)
            peer.deaf_until = time.monotonic() + REST
            self._end(peer)

    def _handle_slice(self, peer: Peer) -> None:
        yield_at = time.monotonic() + SLICE
        while peer.incoming and peer.up and time.monotonic() < yield_at:
            items = peer.next_items()
            handled = self._handle(peer, items, yield_at)
            if peer.up and handled < len(items):
                peer.put_back(items[handled:])
            else:
                self._counters.discarded += len(items) - handled

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
