"""Calls to the dbservers: any of them serves any key, so one that is away is passed over.

The one that answered last is asked first, so a dead one costs a time-out once and
not at every call.
"""

from __future__ import annotations

from typing import Any, Protocol

from common.errors import DeadlineExceeded, Unavailable
from common.places import Places


class Calls(Protocol):
    """What is needed of common.net.rpc.Callers."""

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        """Call a method of another process and give its result."""


class Dbservers:
    """All configured dbservers as one.

    Args:
        callers: the process's calls.
        places: where everybody is.
        first: which one to begin with; the process's index spreads them.
    """

    def __init__(self, callers: Calls, places: Places, first: int = 0) -> None:
        self._callers = callers
        self._names = places.dbservers
        self._current = first % len(self._names)

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        """Call a method of the first dbserver that answers, and give its result.

        What is called must bear being carried out twice: one that ran out of time
        may have done it before the next is asked.

        Args:
            timeout: seconds for each one asked; settings.rpc.timeout unless given.

        Raises:
            DeadlineExceeded: none answered and one ran out of time; whether it was carried out is not known.
            Unavailable: none answered; nothing was carried out.
            RequestError: what the first that answered raised; no other is asked then.
        """
        failure: Unavailable | DeadlineExceeded | None = None
        begin = self._current
        try:
            for step in range(len(self._names)):
                index = (begin + step) % len(self._names)
                try:
                    result = self._callers.call(self._names[index], method, *args, timeout=timeout)
                except (Unavailable, DeadlineExceeded) as error:
                    if not isinstance(failure, DeadlineExceeded):
                        failure = error
                    continue
                self._current = index
                return result
            raise failure or Unavailable("no dbserver is configured")
        finally:
            failure = None  # its traceback names this frame: a cycle that would keep the arguments
