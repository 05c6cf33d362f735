"""Lines of JSON on disk, as a device or sender keeps its state: whatever kills the writer, whole lines stand.

A line is one write, and one that was cut short is taken away when the file is opened
again. Nothing is synced: processes are killed, the machine is not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TAIL = 65_536
"""Longer than any line."""


class Journal:
    """A file that only grows."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._tail = self._repair()

    def append(self, row: list[Any]) -> None:
        """Add a row; it is in the file when this returns."""
        self._tail = []
        os.write(self._file, json.dumps(row, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._file)

    def newest(self, wanted: Callable[[list[Any]], bool]) -> list[Any] | None:
        """Give the newest such row that was there when it was opened, if it is among the last hundreds."""
        return next(filter(wanted, map(json.loads, reversed(self._tail))), None)

    def _repair(self) -> list[bytes]:
        size = os.fstat(self._file).st_size
        begin = max(0, size - TAIL)
        tail = os.pread(self._file, TAIL, begin)
        whole = tail.rfind(b"\n") + 1
        os.ftruncate(self._file, begin + whole)
        lines = tail[:whole].splitlines()
        return lines[1:] if begin else lines


def rows(path: Path) -> Iterator[list[Any]]:
    """Walk the whole rows of a file; nothing where there is none."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def count(path: Path) -> int:
    """Give how many whole rows a file has."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0
