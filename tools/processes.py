"""What /proc says about processes; one that is gone or not ours reads as empty."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def all_pids() -> list[int]:
    """Give every pid there is."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and only waits to be reaped does not."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def command_of(pid: int) -> str:
    """Give the command line of a process, cut to a readable length."""
    return " ".join(_nul_separated(pid, "cmdline"))[:100]


def environment_of(pid: int) -> dict[str, str]:
    """Give the environment a process was started with."""
    return dict(item.partition("=")[::2] for item in _nul_separated(pid, "environ"))


def open_files(pid: int) -> set[str]:
    """Give what the descriptors of a process point at."""
    folder = PROC / str(pid) / "fd"
    found = set()
    try:
        for entry in folder.iterdir():
            found.add(os.readlink(entry))
    except OSError:
        return found
    return found


def of_run_dir(run_dir: Path) -> list[int]:
    """Give the processes supervisord started for this run folder, whether it still lives or not."""
    return [pid for pid in all_pids() if _belongs(pid, run_dir) and alive(pid)]


def _belongs(pid: int, run_dir: Path) -> bool:
    """Tell by the environment, or, for a Redis, whose title overwrites that, by the folder in its title."""
    environment = environment_of(pid)
    command = " ".join(_nul_separated(pid, "cmdline"))
    if "redis-server" in command or "valkey-server" in command:
        return f"{run_dir}/" in command
    return "SUPERVISOR_PROCESS_NAME" in environment and environment.get("ROOST_RUN_DIR") == str(run_dir)


def kill(pids: list[int], number: signal.Signals = signal.SIGKILL, seconds: float = 3.0) -> list[int]:
    """Send a signal and wait; give those that are still there after `seconds`."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    deadline = time.monotonic() + seconds
    left = [pid for pid in pids if alive(pid)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [pid for pid in left if alive(pid)]
    return left


def end(pids: list[int]) -> list[int]:
    """End processes that have no supervisord any more: politely, then at once; give what remains."""
    return kill(kill(pids, signal.SIGTERM, 10.0))


def _nul_separated(pid: int, file: str) -> list[str]:
    try:
        content = (PROC / str(pid) / file).read_bytes()
    except OSError:
        return []
    return content.decode(errors="replace").rstrip("\0").split("\0")
