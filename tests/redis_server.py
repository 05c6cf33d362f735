"""The real Redis for tests: own folder, unix socket, every acknowledged write on disk.

The fixtures are imported by the conftest.py of each folder that needs them.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from common.net.store import Store
from common.settings import Redis
from tools.bundled import find_server

START_SECONDS = 20.0


class RedisServer:
    """One server over one folder; can be killed and started again on the same data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{quote(str(self.socket))}"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        with (self.folder / "redis.log").open("ab") as log:
            command = [str(find_server()), *options, *self._options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "redis.log").read_text())
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as `kill -9` does; the data stays."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def signal(self, number: int) -> None:
        """Send a signal, e.g. SIGSTOP."""
        if self._process is not None:
            self._process.send_signal(number)

    def command(self, *arguments: str | bytes | int) -> object:
        """Send one command on a connection of its own."""
        with redis.Redis.from_url(self.url, protocol=2) as client:
            return client.execute_command(*arguments)

    def _answers(self) -> bool:
        try:
            return self.command("PING") is not None
        except redis.RedisError:
            return False


@contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """Give a server in a folder of its own; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="roost-redis-"))
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.signal(signal.SIGCONT)
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One real Redis for the tests that do not hurt it."""
    with running() as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """The shared Redis, empty."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A real Redis for one test, to be killed, stopped or filled."""
    with running() as server:
        yield server


@pytest.fixture
def make_store() -> Iterator[Callable[..., Store]]:
    """Make stores that are closed afterwards; keywords are settings of Redis.

    The time-out is a generous one: tests write more at once than processes do, on busy machines.
    """
    stores: list[Store] = []

    def make(server: RedisServer, **settings: float) -> Store:
        stores.append(Store(server.url, Redis(**{"timeout": 10.0, **settings})))  # type: ignore[arg-type]
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(redis_server: RedisServer, make_store: Callable[..., Store]) -> Store:
    """A store on the shared, empty Redis."""
    return make_store(redis_server)
