"""Between the process and a map's own code: what fails there is logged, counted, and goes no further."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from traceback import format_exception
from typing import Any

from common.errors import Internal, RequestError
from common.net.log import Doubling, Logger
from common.net.metrics import Counters
from common.wire.codec import pack


class Guard:
    """Calls a map's code.

    Args:
        where: what to name in the log.
        counters: `failures`.

    Attributes:
        newest: what failed last, with its error; "" until something has.
    """

    def __init__(self, where: str, counters: Counters, log: Logger) -> None:
        self._where = where
        self._counters = counters
        self._log = log
        self.newest = ""
        self._failures: defaultdict[str, Doubling] = defaultdict(Doubling)

    def run(self, what: str, function: Callable[..., Any], *args: Any) -> None:
        """Call something nobody waits for an answer of."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 - a defect of the map must not stop its line
            self.failed(what, error)

    def ask(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Give what a function answers, which can be sent to the client.

        Raises:
            RequestError: what the map says; Internal when it failed.
        """
        try:
            value = function(*args)
            pack(value)
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of the map fails this request only
            self.failed(what, error)
            raise Internal("the map failed") from None
        return value

    def failed(self, what: str, error: Exception) -> None:
        """Count and tell of an error; of each kind at 1, 2, 4, 8 … times."""
        self._counters.failures += 1
        self.newest = "".join([f"{what} failed\n", *format_exception(error)])
        failures = self._failures[what]
        if failures.hit():
            self._log.error("map failed", map=self._where, what=what, count=failures.count, exc_info=error)
