"""The copies of a world process, and what function is told of them.

    function ── instance_open ──▶ an instance, with its data
    here     ── line_report, every second ──▶ every function process

What is decided stands in common/rules/hosting.py; what a copy does, in its map.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from common.errors import RequestError
from common.handlers import Handlers
from common.net.log import get as get_log
from common.rules.hosting import Hosting

HOSTS = Handlers("hosts rpc")


class Calls(Protocol):
    """What is needed of common.net.rpc.Callers."""

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        """Call several at once; give peer -> result or the RequestError it ended with."""


class Host:
    """What one world process hosts.

    Args:
        hosting: the copies.
        callers: the process's calls.
        functions: names of all function processes.
        says: gives name, [incarnation, term] and state of the process.
        sizes: [fill, full, copies], as its map says.
        busy: tells whether the process has no time to spare.

    Attributes:
        heard: function has taken a report.
    """

    def __init__(
        self,
        hosting: Hosting,
        callers: Calls,
        functions: tuple[str, ...],
        says: Callable[[], tuple[str, list[Any], str]],
        sizes: list[int],
        busy: Callable[[], bool],
    ) -> None:
        self.hosting = hosting
        self._callers = callers
        self._functions = functions
        self._says = says
        self._sizes = sizes
        self._busy = busy
        self.heard = False
        self._log = get_log()

    def resize(self, fill: int, full: int) -> None:
        """Let lines have other sizes from now on; nobody has to leave."""
        self._sizes[:2] = fill, full
        self.hosting.full = full

    def report(self, timeout: float) -> None:
        """Tell every function process of all copies; open again what a world of this name had."""
        told = (*self._says(), self._busy(), self._sizes, self.hosting.rows())
        answers = self._callers.call_each(self._functions, "line_report", *told, timeout=timeout)
        for again in answers.values():
            if not isinstance(again, RequestError):
                self.heard = True
                for key, data in again or ():
                    self._open_again(key, data)

    def _open_again(self, key: str, data: Any) -> None:
        try:
            self.hosting.open(key, data, time.monotonic())
        except RequestError as error:
            self._log.info("instance not opened again", key=key, error=error.message)


@HOSTS.on("instance_open")
def instance_open(host: Host, key: str, data: Any) -> bool:
    """Open an instance; False when it was open. Raises what `Hosting.open` does."""
    return host.hosting.open(key, data, time.monotonic())
