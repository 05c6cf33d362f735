"""A client that does nothing but TLS handshakes, many at a time, and leaves after each.

    python -m loadtest.handshakes '{"port": …}'

Orders on stdin, one JSON line each: `{"do": "shake", "count": 1000, "resumed": true}`; a
line of JSON answers. One counts as done when the server has sent its ticket: then it has
taken the client's last words too. TLS 1.3.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from typing import Any

from loadtest.flock.lines import trusting

AT_ONCE = 64
PATIENCE = 120.0


class Shaker:
    """Handshakes under way.

    Attributes:
        ticket: session to resume; None before the first handshake.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._context = trusting()
        self._poll = select.epoll()
        self._under_way: dict[int, tuple[ssl.SSLSocket, bool]] = {}
        self.ticket: ssl.SSLSession | None = None

    def shake(self, count: int, resumed: bool) -> dict[str, Any]:
        """Do so many; give how long it took, and how many the server resumed.

        Raises:
            OSError: the server refused one, or they took too long.
        """
        began, cpu = time.monotonic(), time.process_time()
        started = done = again = 0
        while done < count:
            while started < count and len(self._under_way) < AT_ONCE:
                self._connect(self.ticket if resumed else None)
                started += 1
            for descriptor, _event in self._poll.poll(0.2):
                sock = self._step(descriptor)
                if sock is not None:
                    done += 1
                    again += bool(sock.session_reused)
                    self.ticket = sock.session
                    sock.close()
            if time.monotonic() > began + PATIENCE:
                raise TimeoutError(f"{done} of {count} handshakes in {PATIENCE:.0f} s")
        taken = time.monotonic() - began
        return {"done": done, "resumed": again, "seconds": taken, "cpu": time.process_time() - cpu}

    def _connect(self, ticket: ssl.SSLSession | None) -> None:
        plain = socket.create_connection(self._address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        sock = self._context.wrap_socket(plain, do_handshake_on_connect=False, session=ticket)
        self._under_way[sock.fileno()] = (sock, False)
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._step(sock.fileno())

    def _step(self, descriptor: int) -> ssl.SSLSocket | None:
        """Go on with one; give its socket when it is done."""
        sock, shaken = self._under_way[descriptor]
        try:
            if not shaken:
                sock.do_handshake()
                self._under_way[descriptor] = (sock, True)
                return None
            if not sock.recv(1):
                raise ConnectionError("closed by the server")
        except ssl.SSLWantReadError:
            if not shaken:
                return None
        self._poll.unregister(descriptor)
        return self._under_way.pop(descriptor)[0]


def main(words: str) -> None:
    """Carry out orders until stdin ends; an order that fails is answered with `error`, and is the last."""
    shaker = Shaker(**json.loads(words))
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = shaker.shake(order["count"], order["resumed"])
        except OSError as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            return
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
