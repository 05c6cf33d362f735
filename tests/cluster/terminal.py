"""A command as somebody at a terminal runs it: in a session of its own, its output kept."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from common.settings import ROOT

TURN = 0.05


class Terminal:
    """A command that runs, with everything it starts in one foreground process group.

    Args:
        environment: ROOST_ variables; others are inherited.
        output: file its output goes to.
        stdin: subprocess.PIPE for a command somebody types into.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        output: Path,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        others = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
        self._output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env={**others, **environment},
                cwd=ROOT,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """Give what it has written so far."""
        return self._output.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until it has written `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
            assert time.monotonic() < deadline, f"{text!r} was not said: {self.said()}"
            time.sleep(TURN)

    def signal_group(self, number: signal.Signals) -> None:
        """Do what the terminal does at Ctrl-C or when it closes: signal the whole group."""
        os.killpg(self.process.pid, number)

    def wait(self, seconds: float = 20.0) -> int:
        """Wait until it has ended; give its exit code."""
        return self.process.wait(seconds)


def roost(
    *arguments: str, environment: Mapping[str, str], seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run ./roost to its end."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
    return subprocess.run(
        [str(ROOT / "roost"), *arguments],
        env={**others, **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
