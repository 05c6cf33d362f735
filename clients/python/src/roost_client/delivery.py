"""Where events go: to callbacks, or into a queue the application reads.

With any callback set, all events go to callbacks (those without one are dropped) and
the queue stays empty. Otherwise they wait in the queue. It never makes the reader
wait: when it is full, the session leaves room messages to be fetched later, and
events of the droppable kinds are counted instead of kept. What else there is (at most
100 unacked inbox messages, kicks, gaps) is kept above the limit.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from .events import Event, Overflow, StateChanged

log = logging.getLogger("roost_client")

Callback = Callable[[Any], object]


class Delivery:
    """Events on their way to the application.

    Args:
        limit: events the queue holds before the application counts as too slow.
        lock: the client's; whoever calls `put` or `caught_up` holds it.
        on_state: called with the name of each new state; None for nobody.
    """

    def __init__(self, limit: int, lock: threading.Lock, on_state: Callable[[str], object] | None) -> None:
        self._limit = limit
        self._lock = lock
        self._on_state = on_state
        self._callbacks: dict[str, list[Callback]] = {}
        self._waiting: deque[Event] = deque()
        self._running = False
        self._ended = False
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._dropped = 0

    def on(self, name: str, callback: Callback) -> None:
        """Call `callback(event)` for each event of that name; "*" for all."""
        self._callbacks.setdefault(name, []).append(callback)

    @property
    def full(self) -> bool:
        """The application is too slow, or was so when something had to be left out."""
        return self._dropped > 0 or self._queue.qsize() >= self._limit

    @property
    def half_empty(self) -> bool:
        """It has caught up again."""
        return self._queue.qsize() <= self._limit // 2

    def put(self, events: list[Event]) -> None:
        """Take events, in order; does not switch greenlets. After the end nothing is taken."""
        if self._ended:
            return
        for event in events:
            if self._callbacks:
                self._waiting.append(event)
                continue
            if self._on_state is not None and isinstance(event, StateChanged):
                self._waiting.append(event)
            if event.droppable and self.full:
                self._dropped += 1
            else:
                self._queue.put(event)

    def caught_up(self) -> None:
        """Say how many events were left out, if any."""
        if self._dropped:
            self._queue.put(Overflow(self._dropped))
            self._dropped = 0

    def end(self) -> None:
        """Nothing follows what is in the queue."""
        self._ended = True
        self._queue.put(None)

    def get(self, timeout: float | None) -> Event | None:
        """Wait for the next event; None after the last one, or when none came in time."""
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            self._queue.put(None)
        return event

    def run_callbacks(self) -> None:
        """Call what waits to be called; one thread at a time, so the order holds."""
        if not self._waiting:
            return
        with self._lock:
            if self._running:
                return
            self._running = True
        try:
            while (event := self._next()) is not None:
                self._call(event)
        except BaseException:  # Ctrl-C, a killed greenlet: whoever comes next goes on
            self._running = False
            raise

    def _next(self) -> Event | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._running = False
            return None

    def _call(self, event: Event) -> None:
        if self._on_state is not None and isinstance(event, StateChanged):
            _guarded(self._on_state, event.state)
        for name in (event.name, "*"):
            for callback in self._callbacks.get(name, ()):
                _guarded(callback, event)


def _guarded(callback: Callable[[Any], object], value: object) -> None:
    try:
        callback(value)
    except Exception:
        log.exception("a callback failed")
