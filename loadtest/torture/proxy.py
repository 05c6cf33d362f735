"""The networks between devices and gateways: they cut, fall silent, and give devices other addresses.

    python -m loadtest.torture.proxy PLAN

Each device has an address to dial here (`address_of`), so its network is known, and one
to come from (127.x.y.z) that gateways see. What happens to a connection, at random:

    dropped   both ends are closed, by FIN or by RST
    silent    nothing is forwarded any more, and no end hears of it; new connections of the
              device are as silent for a while
    moved     the device's end is closed, the gateway's stays, silent; the device comes back
              from another address
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402 - patched before anything else is imported
import errno  # noqa: E402
import random  # noqa: E402
import socket  # noqa: E402
import struct  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from loadtest.torture import plan as plans  # noqa: E402
from loadtest.torture.child import Child  # noqa: E402

CHUNK = 65_536
SHARES = {"dropped": 4, "silent": 3, "moved": 3}
HUNG_SECONDS = 60.0
"""How long a silent connection may stay before it is taken away."""
RESET = struct.pack("ii", 1, 0)


def address_of(plan: plans.Plan, number: int) -> tuple[str, int]:
    """Give where device `number` dials."""
    return f"127.2.{number // 250}.{number % 250 + 1}", plan.proxy_port


class Pipe:
    """One connection of a device: its end, the gateway's end, and whether anything passes."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.far: socket.socket | None = None
        self.silent = False
        self.ended_by = ""

    def end(self, near: bool = True, far: bool = True, reset: bool = False) -> None:
        """Close one end or both."""
        for sock, wanted in ((self.near, near), (self.far, far)):
            if sock is None or not wanted:
                continue
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                else:
                    sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Network:
    """The network of one device."""

    def __init__(self, proxy: Proxy, number: int, listener: socket.socket) -> None:
        self._proxy = proxy
        self._number = number
        self._listener = listener
        self._moves = 0
        self._silent_until = 0.0
        self.pipe: Pipe | None = None

    def accept(self) -> None:
        """Take connections, for ever."""
        while True:
            near, _ = self._listener.accept()
            gevent.spawn(self._carry, near)

    def suffer(self, kind: str) -> None:
        """Have something happen to the present connection."""
        pipe, proxy = self.pipe, self._proxy
        if pipe is None or pipe.silent or pipe.far is None:
            return
        self.pipe = None
        pipe.ended_by = kind
        proxy.counts.add(kind)
        if kind == "dropped":
            pipe.end(reset=proxy.dice.random() < 0.5)
            return
        pipe.silent = True
        proxy.hung.append((time.monotonic(), pipe))
        if kind == "moved":
            self._moves += 1
            pipe.end(far=False, reset=proxy.dice.random() < 0.5)
        else:
            self._silent_until = time.monotonic() + proxy.dice.uniform(*proxy.plan.silent)

    def heal(self) -> None:
        """No silence any more."""
        self._silent_until = 0.0

    def _carry(self, near: socket.socket) -> None:
        pipe = Pipe(near)
        if time.monotonic() < self._silent_until:
            pipe.silent = True
            self._proxy.hung.append((time.monotonic(), pipe))
            return
        pipe.far = self._dial()
        if pipe.far is None:
            pipe.end()
            return
        self.pipe = pipe
        back = gevent.spawn(_copy, pipe, pipe.far, near, "server")
        _copy(pipe, near, pipe.far, "client")
        back.join()
        if not pipe.ended_by.startswith(tuple(SHARES)):
            pipe.end()
            self._proxy.counts.add(f"ended by the {pipe.ended_by}")
        if self.pipe is pipe:
            self.pipe = None

    def _dial(self) -> socket.socket | None:
        """Connect to a gateway that is there, from the device's present address."""
        net = 10 + self._moves % 200
        source = f"127.{net}.{self._number // 250}.{self._number % 250 + 1}"
        gateways = self._proxy.plan.gateways
        for host, port in self._proxy.dice.sample(gateways, len(gateways)):
            try:
                far = socket.create_connection((host, port), timeout=3.0, source_address=(source, 0))
            except OSError:
                continue
            far.settimeout(None)
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return far
        return None


def _copy(pipe: Pipe, source: socket.socket, target: socket.socket, who: str) -> None:
    """Forward until an end is closed; what comes while it is silent is thrown away."""
    try:
        while data := source.recv(CHUNK):
            if not pipe.silent:
                target.sendall(data)
        pipe.ended_by = pipe.ended_by or who
        if not pipe.silent:
            target.shutdown(socket.SHUT_WR)
    except OSError:
        if not pipe.ended_by:
            pipe.ended_by = who
        if not pipe.silent:
            pipe.end(reset=True)


class Proxy:
    """All networks, and their weather.

    Attributes:
        hung: (since when, pipe) of what fell silent.
    """

    def __init__(self, plan: plans.Plan) -> None:
        self.plan = plan
        self.dice = random.Random(plan.seed)
        self.hung: list[tuple[float, Pipe]] = []
        self._child = Child(plan, "proxy")
        self.counts = self._child.counts
        self._networks: list[Network] = []

    def run(self) -> None:
        """Listen, say on which port, and make weather until calm."""
        port, listeners = _listen(len(self.plan.devices()))
        self._networks = [Network(self, number, each) for number, each in enumerate(listeners)]
        for network in self._networks:
            gevent.spawn(network.accept)
        gevent.spawn(self._weather)
        self._child.wait_end(str(port))
        self.counts.flush()

    def _weather(self) -> None:
        mean = self.plan.cut_after / len(self._networks)
        kinds, weights = list(SHARES), list(SHARES.values())
        while not self._child.calm.wait(self.dice.expovariate(1 / mean)):
            self.dice.choice(self._networks).suffer(self.dice.choices(kinds, weights)[0])
            self._sweep(HUNG_SECONDS)
        for network in self._networks:
            network.heal()
        self._sweep(0.0)

    def _sweep(self, age: float) -> None:
        """Take away what has hung that long."""
        while self.hung and self.hung[0][0] <= time.monotonic() - age:
            self.hung.pop(0)[1].end(reset=True)


def _listen(count: int) -> tuple[int, list[socket.socket]]:
    """Give a port that is free on the addresses of all devices, and the listeners."""
    while True:
        listeners: list[socket.socket] = []
        port = 0
        try:
            for number in range(count):
                host = f"127.2.{number // 250}.{number % 250 + 1}"
                listeners.append(socket.create_server((host, port), backlog=16))
                port = listeners[0].getsockname()[1]
        except OSError as error:
            for each in listeners:
                each.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return port, listeners


if __name__ == "__main__":
    Proxy(plans.read(sys.argv[1])).run()
