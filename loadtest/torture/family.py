"""The processes of a run: the senders, the proxy, the hosts of the devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from common.settings import ROOT
from loadtest.torture.plan import Plan

PATHS = (str(ROOT), str(ROOT / "clients" / "python" / "src"))


class Process:
    """A child; what it prints to stderr goes to a file of the run."""

    def __init__(self, plan: Plan, module: str, *arguments: str) -> None:
        self.name = "-".join((module, *arguments))
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(PATHS),
            "GEVENT_TRACK_GREENLET_TREE": "false",
        }
        with (Path(plan.folder) / "logs" / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"loadtest.torture.{module}", str(plan.path), *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def ready(self) -> str:
        """Wait for the line it prints when it is ready; "" when it died instead."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    @property
    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Give what it ended with; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """`kill -9`."""
        if self.is_alive:
            self._process.kill()
        self._process.wait()
        self._close()

    def end(self, seconds: float = 15.0) -> None:
        """Ask it to end; kill it when it takes too long."""
        if self.is_alive:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
