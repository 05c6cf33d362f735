"""What a process counts and measures.

Hot paths add to plain integers (`counters.packets_in += 1`, no lock, no call); they are
read when somebody asks. Every name is `roost_<area>_<name>`, the area being the process
group or a part of the kernel (link, rpc, loop, gc).

Metrics travel as *families*, plain lists that msgpack takes:

    [name, type, help, [[sample name, {label: value}, number], …]]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError

Family = list[Any]
Reading = float | Mapping[str, float] | None
"""What a gauge's callable gives: a number, {label value: number}, or None for "not now"."""

PROC = Path("/proc/self")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STAT_FIELDS = {"utime": 11, "stime": 12, "starttime": 19, "vsize": 20, "rss": 21}
"""Places in /proc/self/stat behind the name of the program."""


class Counters:
    """Plain integers by name: each declared once with its help, starting at 0.

    An undeclared name raises AttributeError at the first `+=`.
    """

    def __init__(self, area: str) -> None:
        self._area = area
        self._helps: dict[str, str] = {}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def declare(self, table: Mapping[str, str]) -> None:
        """Add counters: name -> help.

        Raises:
            ConfigError: a name is there already; those before it stay declared.
        """
        for name, text in table.items():
            if hasattr(self, name):
                raise ConfigError(f"counter {name!r} of {self._area} is declared twice; rename one")
            self._helps[name] = text
            setattr(self, name, 0)

    def values(self) -> dict[str, int]:
        """Give all counters by name."""
        return {name: getattr(self, name) for name in self._helps}

    def families(self) -> Iterator[Family]:
        """Give the counters as families."""
        for name, text in self._helps.items():
            full = f"roost_{self._area}_{name}"
            yield [full, "counter", text, [[f"{full}_total", {}, getattr(self, name)]]]


class _Gauge:
    """One gauge, read when somebody asks."""

    __slots__ = ("_label", "_name", "_read", "_text")

    def __init__(self, name: str, text: str, read: Callable[[], Reading], label: str) -> None:
        self._name = name
        self._text = text
        self._read = read
        self._label = label

    def family(self) -> Family:
        """Give its family; without a sample when it has nothing to say."""
        name, reading = self._name, self._read()
        samples: list[Any] = []
        if isinstance(reading, Mapping):
            samples = [[name, {self._label: value}, number] for value, number in reading.items()]
        elif reading is not None:
            samples = [[name, {}, reading]]
        return [name, "gauge", self._text, samples]


class Metrics:
    """All metrics of one process.

    Args:
        process_name: e.g. "gateway-0"; its group is the area of `counters`.
    """

    def __init__(self, process_name: str) -> None:
        self.group = process_name.rpartition("-")[0]
        self._areas: dict[str, Counters] = {}
        self._gauges: dict[str, _Gauge] = {}
        self.counters = self.area(self.group)

    def area(self, name: str, table: Mapping[str, str] | None = None) -> Counters:
        """Give the counters of an area (made at the first call), with `table` declared in it.

        Raises:
            ConfigError: a name of the table is there already.
        """
        counters = self._areas.setdefault(name, Counters(name))
        counters.declare(table or {})
        return counters

    def gauge(
        self, name: str, text: str, read: Callable[[], Reading], *, area: str = "", label: str = ""
    ) -> None:
        """Expose `roost_<area or group>_<name>`, read by a call each time somebody asks.

        Args:
            read: must not switch greenlets; gives {label value: number} where `label` is set.

        Raises:
            ConfigError: the name is there already.
        """
        full = f"roost_{area or self.group}_{name}"
        if full in self._gauges:
            raise ConfigError(f"metric {full!r} is declared twice; rename one")
        self._gauges[full] = _Gauge(full, text, read, label)

    def families(self) -> list[Family]:
        """Give all metrics as plain lists (module's docstring), and what the kernel says of this process."""
        counted = [family for counters in self._areas.values() for family in counters.families()]
        return [*counted, *(gauge.family() for gauge in self._gauges.values()), *_of_the_process()]


def _of_the_process() -> Iterator[Family]:
    """Give what the kernel says of this process, by the names that are customary for it."""
    words = (PROC / "stat").read_text().rpartition(")")[2].split()
    stat = {name: int(words[place]) for name, place in STAT_FIELDS.items()}
    limits = (PROC / "limits").read_text().partition("Max open files")[2].split()
    seconds = (stat["utime"] + stat["stime"]) / TICKS
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    yield _plain("process_virtual_memory_bytes", "address space", stat["vsize"])
    yield _plain("process_resident_memory_bytes", "resident memory", stat["rss"] * PAGE)
    yield _plain("process_start_time_seconds", "start, in unix seconds", booted + stat["starttime"] / TICKS)
    yield _plain("process_open_fds", "open file descriptors", _descriptors())
    yield _plain("process_max_fds", "descriptors it may have", float(limits[0]))
    counted = [["process_cpu_seconds_total", {}, seconds]]
    yield ["process_cpu_seconds", "counter", "processor time, user and system", counted]


def _plain(name: str, text: str, value: float) -> Family:
    return [name, "gauge", text, [[name, {}, value]]]


def _descriptors() -> int:
    """Count what is open: Linux 6.2 and later tell it as a size; to list 18,000 takes 20 ms."""
    folder = PROC / "fd"
    return os.stat(folder).st_size or len(os.listdir(folder))
