"""zmq.green's socket, without the cycle that each wait in vain left behind."""

from __future__ import annotations

import zmq.green
from gevent.event import AsyncResult

MISSED_WAKE_UP = 1.0
"""Seconds after which a waiting socket looks by itself, should zmq's edge have been missed."""


class Socket(zmq.green.Socket):  # type: ignore[type-arg]
    """zmq.green's socket; what its edge-triggered wrapper might miss is seen a second later.

    Its own wait caught the time-out in a local variable, a cycle: garbage without end in idle processes.
    """

    _gevent_bug_timeout = MISSED_WAKE_UP

    def _wait_read(self) -> None:
        self._Socket__readable = event = AsyncResult()
        event.wait(self._gevent_bug_timeout)
        event.set()

    def _wait_write(self) -> None:
        self._Socket__writable = event = AsyncResult()
        event.wait(self._gevent_bug_timeout)
        event.set()
