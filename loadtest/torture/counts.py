"""Counters of a process that may be killed at any moment: what is new goes to disk each second."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from loadtest.torture.journal import Journal, rows


class Counts:
    """Counters by name, over all lives of the process."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._new: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        """Count."""
        self._new[name] += number

    def flush(self) -> None:
        """Write what is new."""
        new, self._new = +self._new, Counter()
        if new:
            self._journal.append([dict(new)])


def total(folder: Path) -> Counter[str]:
    """Give the sums over all processes of a run."""
    sums: Counter[str] = Counter()
    for path in folder.glob("*.jsonl"):
        for (new,) in rows(path):
            sums.update(new)
    return sums
