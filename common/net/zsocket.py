"""zmq.green's socket, cheaper to wait at.

Its own wait starts a timer each time, for fear that an edge of zmq's was missed, and catches the
time-out in a local variable: a cycle, garbage without end in idle processes. Here one timer looks
after all sockets of a context.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import zmq
import zmq.green
from gevent import get_hub
from gevent.event import AsyncResult

LOOK_SECONDS = 1.0
"""How often all sockets are looked at, should a wake-up have been missed."""


class Socket(zmq.green.Socket):  # type: ignore[type-arg]
    """zmq.green's socket; Rounds must look at it now and then, in case a wake-up was missed."""

    def look(self) -> None:
        """Wake who waits, if there is something to send or to receive. Does not switch."""
        readable: Any = self._Socket__readable
        writable: Any = self._Socket__writable
        if not (self.closed or readable.ready() and writable.ready()):
            self.get(zmq.EVENTS)

    def send_now(self, data: bytes) -> None:
        """Send a message of one frame; does not switch.

        Raises:
            zmq.Again: there is no space for it.
        """
        zmq.Socket.send(self, data, zmq.NOBLOCK)

    def receive_now(self) -> list[Any] | None:
        """Give the frames of the next message, None when there is none yet; does not switch."""
        try:
            frames = [zmq.Socket.recv(self, zmq.NOBLOCK, False)]
        except zmq.Again:
            return None
        while frames[-1].more:
            frames.append(zmq.Socket.recv(self, zmq.NOBLOCK, False))
        return frames

    def rest(self) -> None:
        """Pay no attention to zmq until the next `wait_write`: for sockets that only send, at once."""
        watcher: Any = self._state_event
        watcher.stop()

    def wait_read(self) -> None:
        """Wait until there may be something to receive."""
        self._wait_read()

    def wait_write(self) -> None:
        """Wait until there may be space again; a socket at rest rests on afterwards."""
        watcher: Any = self._state_event
        watcher.start(self._Socket__state_changed)
        try:
            self._wait_write()
        finally:
            if not self.closed:
                self.rest()

    def _wait_read(self) -> None:
        self._Socket__readable = event = AsyncResult()
        event.wait()
        event.set()

    def _wait_write(self) -> None:
        self._Socket__writable = event = AsyncResult()
        event.wait()
        event.set()


class Rounds:
    """Looks at all these sockets every LOOK_SECONDS, until `stop`."""

    def __init__(self, sockets: Iterable[Socket]) -> None:
        self._sockets = sockets
        self._timer: Any = get_hub().loop.timer(LOOK_SECONDS, LOOK_SECONDS, ref=False)
        self._timer.start(self._look)

    def _look(self) -> None:
        for socket in list(self._sockets):
            socket.look()

    def stop(self) -> None:
        """Look no more; a second call changes nothing."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
