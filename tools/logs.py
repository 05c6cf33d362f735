"""`./roost logs`: the last lines of every process's log, and what follows."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from common.errors import ConfigError
from common.places import GROUPS

TURN = 0.2
"""Seconds between two looks at the files."""
KNOWN = (*GROUPS, "redis", "supervisord")


class Follower:
    """One log file, read on where it was left, through rotation too."""

    def __init__(self, path: Path, last: int) -> None:
        self.name = path.stem
        self._path = path
        self._file: IO[str] | None = None
        self._rest = ""
        self._tail: deque[str] | None = deque(maxlen=last)

    def lines(self) -> Iterator[str]:
        """Give the lines written since the last call; the first call gives the last ones there are."""
        fresh = self._fresh()
        if self._tail is not None:
            self._tail.extend(fresh)
            fresh, self._tail = iter(self._tail), None
        yield from fresh

    def _fresh(self) -> Iterator[str]:
        """Give all whole lines up to the end, going on into the file that took this one's place."""
        while True:
            file = self._opened()
            if file is None:
                return
            *whole, self._rest = (self._rest + file.read()).split("\n")
            yield from whole
            if not self._rotated(file):
                return
            file.close()
            self._file = None

    def _opened(self) -> IO[str] | None:
        if self._file is None:
            try:
                self._file = self._path.open(errors="replace")
            except FileNotFoundError:
                return None
        return self._file

    def _rotated(self, file: IO[str]) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def files_of(run_dir: Path, group: str | None) -> list[Path]:
    """Give the log files of a group ("gateway"), of one process ("gateway-0") or of all.

    Raises:
        ConfigError: there are none; the text names the groups.
    """
    paths = sorted((run_dir / "log").glob("*.log"))
    if group is not None:
        paths = [path for path in paths if path.stem == group or path.stem.rpartition("-")[0] == group]
    if not paths:
        raise ConfigError(f"no logs of {group or 'anybody'} in {run_dir}/log; groups: {', '.join(KNOWN)}")
    return paths


def show(run_dir: Path, group: str | None, last: int, follow: bool) -> int:
    """Print the last lines of each file, then, with `follow`, all that is written, until Ctrl-C."""
    followers = [Follower(path, last) for path in files_of(run_dir, group)]
    width = max(len(follower.name) for follower in followers)
    try:
        while True:
            for follower in followers:
                for line in follower.lines():
                    print(f"{follower.name:<{width}}  {line}", flush=True)
            if not follow:
                return 0
            time.sleep(TURN)
    except KeyboardInterrupt:
        return 0
    finally:
        for follower in followers:
            follower.close()
