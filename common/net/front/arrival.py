"""A client on its way in: what must happen on its socket before anything is said.

    from a trusted proxy     a PROXY header names the client
    on a port with TLS       the handshake
    on an HTTP port          its requests (web.py)

In a greenlet, within `hello_timeout`, and counted as half-open. Plain TCP needs none
of this and goes straight to a connection.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from gevent import Timeout

from common.errors import BadPacket, ConfigError
from common.net.front.sockets import cooperative, raw
from common.net.front.web import WebConnection
from common.wire import proxy

if TYPE_CHECKING:
    from gevent.ssl import SSLContext

    from common.net.front.front import Front

COUNTERS = {
    "tls_handshakes": "TLS handshakes done",
    "tls_failed": "TLS handshakes that failed",
    "proxy_refused": "connections of trusted proxies without a proper PROXY header",
}


class Trusted:
    """Which proxies are believed.

    Args:
        networks: addresses or networks.

    Raises:
        ConfigError: one of them is neither.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        for text in networks:
            try:
                self._networks.append(ip_network(text))
            except ValueError as error:
                raise ConfigError(f"gateway.trusted_proxies = {text!r}: {error}") from None

    def __contains__(self, address: str) -> bool:
        if not self._networks or not address:
            return False
        try:
            where = ip_address(address)
        except ValueError:
            return False
        return any(where in network for network in self._networks)

    def client_of(self, address: str, forwarded: str) -> str:
        """Give the client's address: the last one in X-Forwarded-For that is no trusted proxy's."""
        for hop in reversed([hop.strip() for hop in forwarded.split(",") if hop.strip()]):
            if address not in self:
                break
            address = hop
        return address


class Arrival:
    """One socket until it can be talked on.

    Args:
        sock: the system's, non-blocking.
        web: HTTP comes next.
        tls: how the handshake is done; None: no TLS.
    """

    __slots__ = ("_sock", "_tls", "_web", "address", "closed", "front", "number")

    def __init__(self, front: Front, sock: Any, address: str, web: bool, tls: SSLContext | None) -> None:
        self.front = front
        self.address = address
        self.number = front.next_number()
        self.closed = False
        self._sock = cooperative(sock)
        self._web = web
        self._tls = tls

    def run(self) -> None:
        """Do what is needed, then hand the socket on."""
        front = self.front
        front.half_open.add(self)
        try:
            address = self._prepare()
        except BadPacket:
            front.counters.proxy_refused += 1
            self.close("no header")
            return
        except (OSError, TimeoutError):
            self.close("lost")
            return
        finally:
            front.half_open.discard(self)
        if self.closed:
            return
        sock, self._sock = self._sock, None
        if self._web:
            WebConnection(front, sock, address).run()
        else:
            front.accepted(raw(sock), address)

    def _prepare(self) -> str:
        """Read a proxy's header and shake hands; give the client's address."""
        front, address = self.front, self.address
        until = time.monotonic() + front.settings.hello_timeout
        if front.settings.proxy_protocol and address in front.trusted:
            header = self._read(proxy.FIXED_BYTES, until)
            header += self._read(proxy.size_of(header) - proxy.FIXED_BYTES, until)
            address = proxy.source_of(header) or address
        if self._tls is not None:
            self._shake_hands(self._tls, until)
        return address

    def _shake_hands(self, tls: SSLContext, until: float) -> None:
        """Begin TLS. The time is that of all of it: a handshake may come in very many pieces."""
        counters = self.front.counters
        try:
            self._sock = tls.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock.settimeout(None)
            with Timeout(max(0.01, until - time.monotonic()), TimeoutError):
                self._sock.do_handshake()
        except (OSError, TimeoutError):
            counters.tls_failed += 1
            raise
        counters.tls_handshakes += 1

    def _read(self, size: int, until: float) -> bytes:
        """Read exactly so many bytes; not one more, they are not ours."""
        data = b""
        while len(data) < size:
            self._sock.settimeout(max(0.01, until - time.monotonic()))
            more = self._sock.recv(size - len(data))
            if not more:
                raise ConnectionResetError("ended within its header")
            data += more
        return data

    def kick(self, code: str, reason: str) -> None:
        """End it: there are too many that are not in yet."""
        self.close(code)

    def close(self, why: str) -> None:
        """End it; a second call changes nothing."""
        if not self.closed and self._sock is not None:
            self.closed = True
            self._sock.close()
