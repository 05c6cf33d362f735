"""Time in a gateway: what is due for which connection. Wheels for all, never a timer for one.

    parks    talking and quiet for `park_after`: the greenlet is given back
    lives    no `hello` in time, silent for too long, or at the end of its token
    lingers  last words that nobody read

Requests and welcomes that have waited too long stand in lines of their own, the oldest first.

Source: docs/architecture.md, connections; docs/protocol.md, section 3.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gevent import get_hub

from common.net.front.linger import SECONDS as LINGER_SECONDS
from common.net.front.linger import Linger
from common.net.trim import trim_heap
from common.rules.wheel import Wheel

if TYPE_CHECKING:
    from common.net.front.connection import Connection
    from common.net.front.front import Front

TICK = 0.1
LIFE_SLOTS = 800
"""Half seconds of one turn: the longest silence allowed, 2.5 × 120 s by default, fits in it."""
HEARTBEATS = 2.5
"""A client not heard for so many `ping` intervals is gone (protocol, section 3.5)."""
STANDSTILL = 2.0
"""A clock this late means that this process did not read: nobody is called silent in that tick."""
TRIM_PARKED = 500
"""Greenlets given back after which their memory is worth giving back to the system."""
TRIM_EVERY = 3.0


class Clock:
    """Moves `front.now` on each 0.1 s, and does what is due."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._ending: set[Connection] = set()
        self._lives: Wheel[Connection] = Wheel(0.5, LIFE_SLOTS, front.now)
        self._parks: Wheel[Connection] = Wheel(TICK, 100, front.now)
        self._lingers: Wheel[Linger] = Wheel(0.5, 10, front.now)
        self._timer: Any = None
        self._parked = 0
        self._trim_at = 0.0

    def start(self) -> None:
        """Begin to move."""
        self._timer = get_hub().loop.timer(TICK, TICK)
        self._timer.start(self._tick)

    def stop(self) -> None:
        """Stand still."""
        self._timer.stop()
        self._timer.close()

    def await_hello(self, connection: Connection) -> None:
        """A client has come; it must log in within `hello_timeout`."""
        self._lives.add(self._front.now + self._front.settings.hello_timeout, connection)

    def talking(self, connection: Connection) -> None:
        """A connection has a greenlet: look later whether it can give it back."""
        self._parks.add(self._front.now + self._front.settings.park_after, connection)

    def lingering(self, linger: Linger) -> None:
        """Last words are on their way: cut them off if nobody reads them."""
        self._lingers.add(self._front.now + LINGER_SECONDS, linger)

    def watch_expiry(self, connection: Connection) -> None:
        """A connection's token ends sooner than it would be looked at."""
        self._ending.add(connection)

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        self._ending.discard(connection)

    def _tick(self) -> None:
        front, now = self._front, time.monotonic()
        stood_still, front.now = now - front.now > STANDSTILL, now
        for connection in self._parks.advance(now):
            self._park(connection)
        for connection in self._lives.advance(now):
            if stood_still:
                self._lives.add(now + STANDSTILL, connection)
            elif not connection.closed:
                self._check_life(connection)
        for linger in self._lingers.advance(now):
            linger.cut()
        for connection in [c for c in front.stuck if c.stuck_for(now) > front.settings.slow_timeout]:
            connection.kick("slow", "does not read what it is sent")
        for connection in [c for c in self._ending if c.exp <= time.time()]:
            connection.kick("expired", "the token has expired")
        front.requests.expire(now)
        front.entrance.expire(now)
        if self._parked >= TRIM_PARKED and now >= self._trim_at:
            self._parked, self._trim_at = 0, now + TRIM_EVERY
            trim_heap()

    def _park(self, connection: Connection) -> None:
        front = self._front
        due = connection.heard_at + front.settings.park_after
        if connection.closed:
            return
        if due > front.now:
            self._parks.add(due, connection)
        elif connection not in front.lines and connection.park():
            self._parked += 1
        else:
            self._parks.add(front.now + front.settings.park_after, connection)

    def _check_life(self, connection: Connection) -> None:
        """End what is silent or expired; come back for the others."""
        now, settings = self._front.now, self._front.settings
        if connection.in_flight and not connection.user:
            self._lives.add(now, connection)
            return
        if not connection.user:
            connection.kick("idle", f"no hello within {settings.hello_timeout:g} s")
            return
        silent_at = connection.silent_at(HEARTBEATS)
        expires_at = now + connection.exp - time.time()
        if silent_at <= now:
            connection.kick("idle", "not heard for too long")
        elif expires_at <= now:
            connection.kick("expired", "the token has expired")
        else:
            self._lives.add(min(silent_at, expires_at), connection)
