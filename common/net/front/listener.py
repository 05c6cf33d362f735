"""Accepting connections, within the limits, and not at all when full.

A gateway that is full closes its ports, so that the kernel gives new clients to the
other gateways of the host (SO_REUSEPORT), and opens them again when there is space.
Above the accept rate, or with too many half-open logins, accepting pauses: what comes
then waits in the kernel.

Source: docs/architecture.md, connections.
"""

from __future__ import annotations

import _socket
import errno
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gevent import get_hub, sleep
from gevent.event import Event

from common.errors import ConfigError
from common.net.front.arrival import Arrival
from common.net.front.front import Front
from common.net.log import Doubling
from common.rules.limits import TokenBucket, wait_for

if TYPE_CHECKING:
    from common.net.front.certificate import Certificate

READABLE = 1
BACKLOG = 1024
ACCEPT_AT_ONCE = 64
"""Connections accepted in one loop turn: a storm must not starve those who are in."""
REOPEN_SHARE = 0.98
"""A full gateway listens again below this share of its limit."""
STEP_SECONDS, FULL_STEP_SECONDS = 0.02, 0.1
"""How often a door looks after listeners that pause, and whether a full gateway has space again."""
NO_SPACE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Accepting again at once would fail again, as fast as the processor goes."""


class Listener:
    """One listening TCP port, or unix socket.

    Args:
        address: (host, port), or the path of a unix socket, whose file is removed again.
        shared: several processes listen on it (SO_REUSEPORT).
        admits: asked before each connection is taken; False pauses this listener.
        take: called with (socket, address) of each.
        paused: called when the listener has paused by itself.
    """

    def __init__(
        self,
        address: tuple[str, int] | str,
        shared: bool,
        admits: Callable[[], bool],
        take: Callable[[Any, str], None],
        paused: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._family = _socket.AF_UNIX if isinstance(address, str) else _socket.AF_INET
        self._shared = shared
        self._admits = admits
        self._take = take
        self._paused = paused
        self._sock: Any = None
        self._io: Any = None

    def bind(self) -> None:
        """Take the address, and let nobody in yet; nothing happens if it is taken already.

        Raises:
            ConfigError: another process has it.
        """
        if self._sock is not None:
            return
        sock = _socket.socket(self._family, _socket.SOCK_STREAM)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        self._remove_file()
        if self._shared:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)
        try:
            sock.bind(self._address)
        except OSError as error:
            sock.close()
            raise self._refused(error) from None
        sock.setblocking(False)
        self._sock = sock

    def open(self) -> None:
        """Listen; nothing happens if it does already.

        Raises:
            ConfigError: the port is taken.
        """
        if self._io is not None:
            return
        self.bind()
        try:
            self._sock.listen(BACKLOG)
        except OSError as error:
            self.close()
            raise self._refused(error) from None
        self._io = get_hub().loop.io(self._sock.fileno(), READABLE)
        self.resume()

    def _refused(self, error: OSError) -> ConfigError:
        where = self._address if isinstance(self._address, str) else "{}:{}".format(*self._address)
        return ConfigError(f"cannot listen on {where}: {error.strerror}; set ROOST_PORT")

    def resume(self) -> None:
        """Go on accepting; nothing happens if it does."""
        if self._io is not None and not self._io.active:
            self._io.start(self._accept)

    def pause(self) -> None:
        """Let new connections wait in the kernel."""
        if self._io is not None:
            self._io.stop()
            self._paused()

    def close(self) -> None:
        """Stop listening."""
        if self._sock is None:
            return
        if self._io is not None:
            self._io.stop()
            self._io.close()
        self._sock.close()
        self._sock = self._io = None
        self._remove_file()

    def _remove_file(self) -> None:
        if isinstance(self._address, str):
            Path(self._address).unlink(missing_ok=True)

    def _accept(self) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            if not self._admits():
                self.pause()
                return
            try:
                descriptor, address = self._sock._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in NO_SPACE:
                    self.pause()
                return
            sock = _socket.socket(self._family, _socket.SOCK_STREAM, 0, descriptor)
            sock.setblocking(False)
            if self._family == _socket.AF_INET:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._take(sock, address[0] if address else "")


class Place(NamedTuple):
    """Where a gateway listens, and for what."""

    port: int
    shared: bool = False
    web: bool = False
    tls: bool = False


class Door:
    """All listeners of a gateway, opened and closed by how full it is.

    Args:
        places: where to listen.
        certificate: for those with TLS.
    """

    def __init__(
        self, front: Front, host: str, places: Sequence[Place], certificate: Certificate | None = None
    ) -> None:
        self._front = front
        self._certificate = certificate
        self._wake = Event()
        self._listeners = [
            Listener(
                (host, place.port), place.shared, self.admits, partial(self._take, place), self._wake.set
            )
            for place in places
        ]
        self._open = False
        self._full = False
        self._failures = Doubling()
        rate = front.settings.accept_per_second
        self._rate = TokenBucket(rate, rate)

    def bind(self) -> None:
        """Take the ports, and let nobody in yet.

        Raises:
            ConfigError: one is taken.
        """
        for listener in self._listeners:
            listener.bind()

    def open(self) -> None:
        """Let clients in.

        Raises:
            ConfigError: a port is taken.
        """
        self._open = True
        self._full = False
        for listener in self._listeners:
            listener.open()

    def close(self) -> None:
        """Let nobody in any more."""
        self._open = False
        for listener in self._listeners:
            listener.close()

    def admits(self) -> bool:
        """Tell whether one more may come in right now."""
        front, settings, rate = self._front, self._front.settings, self._rate
        if front.held() >= settings.max_connections - 1:  # full with this one, if not already
            self._wake.set()
        if front.held() >= settings.max_connections or len(front.half_open) >= settings.half_open:
            return False
        return not wait_for(rate.full_at, front.now, 1, rate.rate, rate.burst)

    def _take(self, place: Place, sock: Any, address: str) -> None:
        self._rate.take(self._front.now)
        front = self._front
        proxied = front.settings.proxy_protocol and address in front.trusted
        if not (place.web or place.tls or proxied):
            front.accepted(sock, address)
            return
        context = self._certificate.context if place.tls and self._certificate else None
        arrival = Arrival(front, sock, address, place.web, context)
        front.process.tasks.spawn(f"arrival {arrival.number}", arrival.run)

    def run(self) -> None:
        """Look after the listeners as long as one of them pauses; for ever. Open and unhurried, it sleeps."""
        while True:
            self._wake.wait()
            sleep(FULL_STEP_SECONDS if self._full else STEP_SECONDS)
            self.step()

    def step(self) -> None:
        """Open, close or go on by what has come in; to be called often while one pauses."""
        if not self._open:
            self._wake.clear()
            return
        held, limit = self._front.held(), self._front.settings.max_connections
        if not self._full and held >= limit:
            self._full = True
            self._front.log.warning("full", connections=held)
            for listener in self._listeners:
                listener.close()
        elif self._full and held < limit * REOPEN_SHARE:
            self._reopen()
        if not self._full and self.admits():
            self._wake.clear()
            for listener in self._listeners:
                listener.resume()

    def _reopen(self) -> None:
        try:
            self.open()
            self._failures = Doubling()
        except ConfigError as error:
            self._full = True
            if self._failures.hit():
                self._front.log.error("cannot listen again yet", error=str(error))
