"""What a figure is worth nothing without: the machine, the versions, the commit; and CPU seconds."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.settings import ROOT

LIBRARIES = ("gevent", "greenlet", "msgpack", "pyzmq", "zerorpc")
TICKS = os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, Any]:
    """Give the facts of this machine and of the code that runs."""
    return {
        "cores": os.cpu_count(),
        "ram_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_files": len(
            _git("status", "--porcelain", "--", "common", "servers", "loadtest").splitlines()
        ),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def _git(*words: str) -> str:
    """Give what git says; "" where the code is no clone."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def cpu_seconds(pid: int) -> float:
    """Give the CPU seconds a process has used, user and kernel, in steps of 0.01."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_bytes(pid: int) -> int:
    """Give the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds() -> tuple[float, float]:
    """Give the seconds all processors together were busy and idle, since the machine started."""
    line = Path("/proc/stat").read_text().partition("\n")[0]
    fields = [int(word) / TICKS for word in line.split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle
