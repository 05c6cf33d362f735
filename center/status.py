"""What center knows of the cluster: it asks every configured process, at most twice a second.

However many requests come at once, one of them asks and the others take its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Generic, Protocol, TypeVar

from gevent.lock import BoundedSemaphore

from common.errors import DeadlineExceeded, RequestError, Unavailable
from common.net.exposition import render
from common.net.metrics import Family
from common.places import Places

FRESH = 0.5
"""Seconds an answer is given again without asking."""

COLUMNS = (
    "group",
    "index",
    "pid",
    "state",
    "incarnation",
    "term",
    "uptime",
    "connections",
    "lag_p99_ms",
    "rss",
    "queues",
    "missing",
)
"""Fields of a row, as in docs/operations.md."""

Row = dict[str, Any]
Value = TypeVar("Value")


class Asks(Protocol):
    """What is needed of common.net.rpc.Callers."""

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        """Call several at once; give peer -> result or the RequestError it ended with."""


class Fresh(Generic[Value]):
    """A value made anew when somebody wants it and it is older than `seconds`; made once at a time."""

    def __init__(
        self, seconds: float, make: Callable[[], Value], clock: Callable[[], float] = monotonic
    ) -> None:
        self._seconds = seconds
        self._make = make
        self._clock = clock
        self._lock = BoundedSemaphore()
        self._kept: tuple[Value, float] | None = None

    def get(self) -> Value:
        """Give the value; may wait for the one who makes it. What `make` raises keeps nothing."""
        with self._lock:
            if self._kept is None or self._clock() - self._kept[1] > self._seconds:
                self._kept = (self._make(), self._clock())
            return self._kept[0]


class Board:
    """State and metrics of all configured processes, center itself included.

    Args:
        callers: the process's calls.
        places: who is configured.
        timeout: seconds each process has to answer.
        own_row: gives center's own row.
        own_families: gives center's own metrics.
    """

    def __init__(
        self,
        callers: Asks,
        places: Places,
        timeout: float,
        own_row: Callable[[], Row],
        own_families: Callable[[], list[Family]],
    ) -> None:
        self._callers = callers
        self._names = places.processes
        self._center = places.center
        self._timeout = timeout
        self._own_row = own_row
        self._own_families = own_families
        self._rows = Fresh(FRESH, self._ask_rows)
        self._page = Fresh(FRESH, self._ask_page)

    def rows(self) -> list[Row]:
        """Give a row of COLUMNS for each process, center last; one that does not answer is `down`."""
        return self._rows.get()

    def missing(self) -> list[str]:
        """Say what keeps the cluster from being ready: "world-1: not answering"; [] when nothing does."""
        return [f"{row['group']}-{row['index']}: {text}" for row in self.rows() for text in _lacks(row)]

    def metrics(self) -> bytes:
        """Give the metrics of all processes as one page for Prometheus."""
        return self._page.get()

    def _ask_rows(self) -> list[Row]:
        answers = self._callers.call_each(self._names, "status", timeout=self._timeout)
        return [*(_row(name, answers.get(name)) for name in self._names), self._own_row()]

    def _ask_page(self) -> bytes:
        answers = self._callers.call_each(self._names, "metrics", timeout=self._timeout)
        parts = {name: _families(answers.get(name)) for name in self._names}
        parts[self._center] = _families(self._own_families())
        return render(parts)


def _row(name: str, answer: Any) -> Row:
    """Give the row of a process from what it answered."""
    group, _, index = name.rpartition("-")
    if isinstance(answer, Mapping):
        return {column: answer.get(column) for column in COLUMNS}
    row: Row = dict.fromkeys(COLUMNS)
    row.update(group=group, index=int(index), state="down", missing=[_reason(answer)])
    return row


def _reason(answer: Any) -> str:
    if isinstance(answer, RequestError) and not isinstance(answer, (Unavailable, DeadlineExceeded)):
        return f"answers {answer.code}"
    return "not answering"


def _lacks(row: Row) -> list[str]:
    """Give what a row lacks of being ready."""
    if row["missing"]:
        return list(row["missing"])
    return [] if row["state"] == "ready" else [str(row["state"])]


def _families(answer: Any) -> list[Family]:
    """Give the families of a process with `roost_up` before them: 0 for one that did not answer."""
    known = isinstance(answer, list)
    up: Family = ["roost_up", "gauge", "1 when the process answers", [["roost_up", {}, int(known)]]]
    return [up, *answer] if known else [up]
