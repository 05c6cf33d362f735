"""A whole real cluster for tests: its own ports, its own short run folder, the real supervisord."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.errors import ConfigError
from common.keys import Secrets, load_secrets
from common.places import Places
from common.settings import Settings, load
from tools import center, cluster, processes, status
from tools.control import Supervisor
from tools.tokens import make_token

FULL = bool(os.environ.get("FULL"))
"""Whether proofs run at full size (`make proof`), not as small as in CI."""
PLAZA = {"plaza": 2}
"""Maps unless a test says others: those of the example game would start with every cluster."""
BASES = range(12_000, 32_000, 500)
"""Below the ports the kernel gives to clients; a cluster's ports reach to base + 444."""
TRIES = 20
TURN = 0.05
READY_SECONDS = 60.0
"""A cluster on a busy machine of two cores; alone it takes a few seconds."""


class Cluster:
    """A running cluster.

    Args:
        settings: "section.key" -> value, over those of the conf file and PLAZA.
        conf: another file than conf/roost.toml.

    Attributes:
        settings, places, secrets: as its processes have them.
        environment: the ROOST_ variables that name it, for commands run against it.
    """

    settings: Settings
    places: Places
    secrets: Secrets

    def __init__(self, settings: Mapping[str, Any] | None = None, conf: Path | None = None) -> None:
        self.run_dir = Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
        chosen = {"cluster.maps": PLAZA, **(settings or {})}
        self.environment = {"ROOST_RUN_DIR": str(self.run_dir)} | _as_variables(chosen)
        if conf is not None:
            self.environment["ROOST_CONF"] = str(conf)
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._base: IO[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, again after `stop(keep=True)`; returns when supervisord answers."""
        others = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
        for _ in range(TRIES):
            if "ROOST_PORT" not in self.environment:
                self._base = _hold_base()
                self.environment["ROOST_PORT"] = self._base.name.rpartition("-")[2]
            self.settings = load(self.environment)
            self.places = Places(self.settings)
            try:
                self._supervisord = cluster.start(self.settings, self.places, others | self.environment)
                break
            except ConfigError as error:
                if " is taken by " not in str(error):
                    raise
                del self.environment["ROOST_PORT"]
                self._release_base()
        else:
            raise AssertionError(f"no free ports after {TRIES} tries")
        self.secrets = load_secrets(self.run_dir)

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Wait until center's /healthz says so; fails with what is missing and the last log lines."""
        deadline = time.monotonic() + seconds
        ready, words = False, ""
        while not ready:
            assert time.monotonic() < deadline, f"not ready after {seconds:.0f} s: {words}\n{self.log_ends()}"
            time.sleep(TURN)
            ready, words = center.healthy(self.settings, self.places)

    def status(self) -> dict[str, Any]:
        """Give what `./roost status --json` prints."""
        return status.gather(self.settings, self.places)

    def token(self, uid: str, product: str = "demo", ttl: int = 3600, **claims: Any) -> str:
        """Give a token as `./roost token` makes it; `claims`: rooms, scopes, tags."""
        return make_token(self.secrets.token_key, uid, product, time.time(), ttl, claims)

    def tcp(self, gateway_index: int | None = None) -> tuple[str, int]:
        """Give (host, port) of one gateway, or of the port they share."""
        if gateway_index is None:
            return self.settings.cluster.host, self.places.port
        return self.settings.cluster.host, self.places.tcp_port(gateway_index)

    def web_url(self, gateway_index: int | None = None) -> str:
        """Give the HTTP address of one gateway, or of the port they share."""
        places = self.places
        port = places.web_port if gateway_index is None else places.own_web_port(gateway_index)
        return f"http://{self.settings.cluster.host}:{port}"

    def center_url(self) -> str:
        """Give where center listens."""
        return center.base_url(self.settings, self.places)

    def supervised(self) -> dict[str, dict[str, Any]]:
        """Give what supervisord says of each process: name -> statename, pid, …"""
        return {row["name"]: row for row in Supervisor(self.run_dir).processes()}

    def pid(self, name: str) -> int:
        """Give the present pid of a process ("world-1", "redis-0"); 0 while it has none."""
        return int(self.supervised()[name]["pid"])

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a process a signal; give the pid that got it."""
        pid = self.pid(name)
        assert pid, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int, seconds: float = 15.0) -> int:
        """Wait until supervisord runs a new process of this name; give its pid."""
        deadline = time.monotonic() + seconds
        while True:
            pid = self.pid(name)
            if pid and pid != old_pid:
                return pid
            assert time.monotonic() < deadline, f"{name} was not started again\n{self.log_ends()}"
            time.sleep(TURN)

    def wait_healed(self, killed: Mapping[str, int], seconds: float = 15.0) -> None:
        """Wait until all are ready and each killed process is a new one.

        Args:
            killed: name -> the pid that was killed; center may call that one ready for
                another half second, so health alone does not tell.
        """
        deadline = time.monotonic() + seconds
        for name, old_pid in killed.items():
            self.wait_restarted(name, old_pid, seconds)
        while True:
            status = self.status()
            pids = {f"{row['group']}-{row['index']}": row["pid"] for row in status["processes"]}
            if status["ready"] and all(pids[name] != old_pid for name, old_pid in killed.items()):
                return
            assert time.monotonic() < deadline, f"not healed after {seconds:.0f} s\n{self.log_ends()}"
            time.sleep(TURN)

    def _release_base(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None

    def log_ends(self, size: int = 1500) -> str:
        """Give the end of every log, for a failure's message."""
        parts = []
        for path in sorted((self.run_dir / "log").glob("*.log")):
            parts.append(f"--- {path.stem}\n{path.read_text(errors='replace')[-size:]}")
        return "\n".join(parts)

    def stop(self, keep: bool = False) -> None:
        """End it in order; unless `keep`, remove its folder."""
        if self._supervisord is not None:
            supervisord, self._supervisord = self._supervisord, None
            cluster.stop(self.run_dir, supervisord.poll)
            supervisord.wait(5)
        left = processes.of_run_dir(self.run_dir)
        assert not left, f"still running: {[processes.command_of(pid) for pid in left]}"
        if not keep:
            shutil.rmtree(self.run_dir, ignore_errors=True)
            self._release_base()


def _hold_base() -> IO[bytes]:
    """Give the lock file of ports that no other test run on this machine uses; held while it is open."""
    for base in random.sample(BASES, len(BASES)):
        file = Path(f"/tmp/roost-ports-{base}").open("ab")  # noqa: SIM115 - held open
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        return file
    raise AssertionError("all ports for tests are in use")


def _as_variables(settings: Mapping[str, Any]) -> dict[str, str]:
    variables = {}
    for target, value in settings.items():
        section, key = target.split(".")
        text = value if isinstance(value, str) else json.dumps(value)
        variables[f"ROOST_{section.upper()}_{key.upper()}"] = text
    return variables


@contextmanager
def running(settings: Mapping[str, Any] | None = None) -> Iterator[Cluster]:
    """Give a ready cluster; it ends with the block."""
    started = Cluster(settings)
    try:
        started.wait_ready()
        yield started
    finally:
        started.stop()
