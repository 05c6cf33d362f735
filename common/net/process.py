"""What every process of the system is made of, from its first to its last moment.

    main("world", World)
      settings, secrets, log → links and calls → service.start → ready
      → renews its lease until a signal, a dead core task or a newer twin
      → service.stop → greenlets ended, links and calls closed → exit

A process that stood still (Lease) fences itself at the first thing it would do:
its term goes up, every stream starts anew, the service is told.

Source: docs/architecture.md, sections 3 and 4.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gevent
from gevent.event import Event

from common.errors import ConfigError, RequestError, Unavailable
from common.handlers import Handlers
from common.keys import load_secrets
from common.net import links, rpc
from common.net import log as logs
from common.net.census import census as take_census
from common.net.claim import Claim
from common.net.links import Links
from common.net.metrics import Metrics
from common.net.pulse import Pulse, freeze_heap
from common.net.rpc import Callers, Context, RpcServer
from common.net.tasks import Tasks
from common.places import Places
from common.rules.directory import freshest
from common.rules.lease import Lease
from common.settings import Settings, load

KERNEL = Handlers("kernel rpc")
PAGE = os.sysconf("SC_PAGE_SIZE")
STOP_TASKS = 3.0
"""Seconds greenlets get to end in the ordered stop."""
FLUSH_SECONDS = 0.5
"""Seconds what is queued for other processes gets to leave in the ordered stop."""
BEATS = 8
"""Beats of the lease in the time that counts as frozen."""
STARTING_RENEWAL = 0.2
"""Seconds between renewals, at most, until the process is ready."""


class Service:
    """What a process group adds to the kernel; override what is needed.

    Attributes:
        LINK: items other processes send: `f(service, peer, *rest)`, must not switch for long.
        RPC: calls other processes make: `f(service, *args)`.
    """

    LINK: ClassVar[Handlers] = Handlers("no links")
    RPC: ClassVar[Handlers] = Handlers("no rpc")

    def __init__(self, process: Process) -> None:
        self.process = process

    def tables(self) -> tuple[tuple[Handlers, Any], ...]:
        """Give what is served by call: (table, first argument of its functions), asked in this order."""
        return ((self.RPC, self),)

    def peers(self) -> tuple[str, ...]:
        """Name the processes to keep links with."""
        return ()

    def start(self) -> None:
        """Begin to serve; may block, may raise ConfigError. All peers are down still."""

    def stop(self) -> None:
        """Stop serving in order, while links and calls still work."""

    def missing(self) -> list[str]:
        """Say what keeps the process from being ready; [] when nothing does."""
        return []

    def fenced(self) -> None:
        """The process was frozen: the term has gone up, all peers are down. Must not switch greenlets.

        `link_down` of each peer follows, and `link_up` when its stream has begun anew.
        """

    def connections(self) -> int:
        """Give how many clients this process holds."""
        return 0

    def queues(self) -> dict[str, int]:
        """Give what waits in queues: name -> bytes or entries."""
        return {}

    def link_up(self, peer: str) -> None:
        """A stream with `peer` began: bring it up to date."""

    def link_down(self, peer: str) -> None:
        """The stream with `peer` ended: what it has not answered it will not answer."""

    def link_turn(self, peer: str) -> None:
        """What had arrived from `peer` has been handled."""


class Process:
    """The kernel around one service.

    Attributes:
        state: starting, ready, draining, stopping.
        directory: process name -> [incarnation, term, state, age in ms], as function last told.
    """

    def __init__(self, group: str, index: int, settings: Settings) -> None:
        self.group = group
        self.index = index
        self.name = f"{group}-{index}"
        self.settings = settings
        self.places = Places(settings)
        self.places.check_socket_paths()
        self.places.check_configured(self.name)
        self.secrets = load_secrets(self.places.run_dir)
        self._claim = Claim(self.places.run_dir, self.name, time.time_ns() // 1000)
        self.incarnation = self._claim.incarnation
        self.log = logs.get()
        self.metrics = Metrics(self.name)
        self.pulse = Pulse()
        self.pulse.expose(self.metrics)
        self.lease = Lease(settings.lease.frozen_after, awake())
        self.tasks = Tasks(self.log, self._core_died)
        self._context = context = Context()
        self._calls = self.metrics.area("rpc", rpc.COUNTERS)
        self.callers = Callers(context, self.places, self.name, settings.rpc, self._calls)
        self.links = Links(
            context,
            self.places,
            self.name,
            self.incarnation,
            self.lease,
            settings.link,
            self.tasks,
            self.thaw,
            self.metrics.area("link", links.COUNTERS),
        )
        self.state = "starting"
        self.exit_code = 0
        self.directory: dict[str, list[Any]] = {}
        self.started_at = time.monotonic()
        self.stopping = Event()
        self._serving = False
        self._renew_now = Event()
        self._service = Service(self)

    def state_of(self, name: str) -> str:
        """Give what the directory says of a process; "" where it says nothing."""
        told = self.directory.get(name)
        return told[2] if told is not None else ""

    @property
    def term(self) -> int:
        """The present lease term."""
        return self.lease.term

    def run(self, service: Service) -> int:
        """Serve until told to stop; give the exit code."""
        self._service = service
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self.stopping.set)
        tables = (*service.tables(), (KERNEL, self))
        address = self.places.rpc_address(self.name)
        server = RpcServer(self._context, address, tables, self._admit, self._calls)
        self.pulse.start()
        self.tasks.spawn("rpc", server.run, core=True)
        self.lease.beat(awake())
        self.tasks.every("lease", self.settings.lease.frozen_after / BEATS, self._beat)
        try:
            self.links.meet(service.peers())
            service.start()
            self._serving = True
            self.links.start(service, service.LINK)
            self.tasks.spawn("renewal", self._renew_loop, core=True)
            freeze_heap()
            self.pulse.pauses.clear()
            self.log.info("started", pid=os.getpid(), incarnation=self.incarnation)
            self.stopping.wait()
            self._stop(service)
        finally:
            self._close(server)
        self.log.info("stopped", exit_code=self.exit_code)
        return self.exit_code

    def _stop(self, service: Service) -> None:
        self.state = "stopping"
        self._serving = False
        self.tasks.expect_end()
        self.log.info("stopping")
        service.stop()
        self.links.flush(FLUSH_SECONDS)

    def _close(self, server: RpcServer) -> None:
        self.tasks.expect_end()
        self.pulse.stop()
        server.close()
        late = self.tasks.stop(STOP_TASKS)
        if late:
            self.log.warning("tasks did not end", tasks=late)
        self.links.close()
        self.callers.close()
        self._context.destroy(linger=0)
        self._remove_sockets()
        self._claim.release()

    def _remove_sockets(self) -> None:
        """Remove our socket files: zmq leaves them. Those of a dead process it replaces."""
        for address in (self.places.rpc_address(self.name), self.places.link_address(self.name)):
            Path(address.removeprefix("ipc://")).unlink(missing_ok=True)

    def status(self) -> dict[str, Any]:
        """Give this process's row of `./roost status`."""
        return {
            "group": self.group,
            "index": self.index,
            "pid": os.getpid(),
            "state": self.state,
            "incarnation": self.incarnation,
            "term": self.term,
            "uptime": round(time.monotonic() - self.started_at, 1),
            "connections": self._service.connections(),
            "lag_p99_ms": self.pulse.lag.milliseconds()["p99"],
            "rss": rss_bytes(),
            "queues": {"links": self.links.queued_bytes(), **self._service.queues()},
            "missing": self.missing(),
        }

    def missing(self) -> list[str]:
        """Say what keeps this process from being ready."""
        links = [f"no link with {peer}" for peer in self.links.missing()]
        return links + self._service.missing()

    def thaw(self) -> None:
        """Fence the process if it was frozen; to be called before anything is sent or handled."""
        if self.lease.frozen(awake()):
            self._beat()

    def _beat(self) -> None:
        """Note that the process runs; fence it if it was frozen. Does not switch."""
        if not self.lease.beat(awake()):
            return
        self.log.warning("was frozen", term=self.term)
        self.links.end_all()
        try:
            self._service.fenced()
        except Exception:  # noqa: BLE001 - a service that cannot be fenced must not serve on
            self.log.exception("fencing failed")
            self._end(1)
        self._renew_now.set()

    def _admit(self, method: str) -> None:
        """Refuse what may not be served now; what the kernel answers itself always is."""
        self.thaw()
        if not self._serving and method not in KERNEL:
            raise Unavailable(f"{self.name} is {self.state}")

    def _renew_loop(self) -> None:
        every = self.settings.lease.renew_every
        while True:
            self._renew()
            self._renew_now.wait(every if self.state != "starting" else min(every, STARTING_RENEWAL))
            self._renew_now.clear()

    def _renew(self) -> None:
        """Tell every function process that this one lives; take the newest directory."""
        if self.state == "starting" and not self.missing():
            self.state = "ready"
            self.log.info("ready", after=round(time.monotonic() - self.started_at, 2))
        told = self.callers.call_each(
            self.places.functions,
            "renew",
            self.name,
            self.incarnation,
            self.term,
            self.places.rpc_address(self.name),
            self.state,
            timeout=self.settings.lease.renew_every * 0.8,
        )
        answers = [answer["directory"] for answer in told.values() if not isinstance(answer, RequestError)]
        if answers:
            self._take(freshest(answers))

    def _take(self, directory: dict[str, list[Any]]) -> None:
        self.directory = directory
        newest = directory.get(self.name)
        if newest is not None and newest[0] > self.incarnation:
            self.log.error("a newer process has this name", incarnation=newest[0])
            self._end(1)

    def fail(self, reason: str) -> None:
        """End this process, in order, with an exit code that says so; supervisord starts it anew."""
        self.log.error("must stop", reason=reason)
        self._end(1)

    def _core_died(self, name: str, error: BaseException | None) -> None:
        self._end(1)

    def _end(self, code: int) -> None:
        self.exit_code = code
        self.stopping.set()


@KERNEL.on("status")
def status(process: Process) -> dict[str, Any]:
    """Give the row of `./roost status`."""
    return process.status()


@KERNEL.on("metrics")
def metrics(process: Process) -> list[Any]:
    """Give all metrics as plain lists."""
    return process.metrics.families()


@KERNEL.on("census")
def census(process: Process) -> dict[str, Any]:
    """Count the objects this process holds (common/net/census.py); the loop stands still meanwhile."""
    return take_census()


def rss_bytes() -> int:
    """Give the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def awake() -> float:
    """Give monotonic seconds that go on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(group: str, service: Callable[[Process], Service]) -> None:
    """Run process `sys.argv[1]` of a group until it is told to stop; exits.

    Exit codes: 0 told to stop, 1 a core task died or a newer process has the name,
    2 a setting is wrong (said on stderr).
    """
    index = sys.argv[1] if len(sys.argv) > 1 else "0"
    try:
        settings = load()
        logs.setup(settings.log.level, f"{group}-{index}")
        logs.report_uncaught(gevent.get_hub())
        process = Process(group, _index(index), settings)
        code = process.run(service(process))
    except ConfigError as error:
        print(f"{group}-{index}: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)


def _index(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"index = {text!r}: must be 0, 1, 2 …")
    return int(text)
