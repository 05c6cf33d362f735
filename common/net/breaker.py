"""A circuit breaker: after failures, refuse at once for a while, then let one call try."""

from __future__ import annotations

from common.errors import Unavailable


class Breaker:
    """closed ──failures──▶ open ──`rest` s──▶ one probe ──success──▶ closed, ──failure──▶ open.

    Args:
        what: who is behind it, for the message.
        rest: seconds that calls are refused for after a failure.
        patience: failures in a row that open it.

    Attributes:
        failures: calls without an answer, since the start.
        trips: how often it opened; calls that were under way then do not open it again.
    """

    __slots__ = ("_in_a_row", "_open_until", "_patience", "_probing", "_rest", "_what", "failures", "trips")

    def __init__(self, what: str, rest: float, patience: int = 1) -> None:
        self._what = what
        self._rest = rest
        self._patience = patience
        self._open_until: float | None = None
        self._probing = False
        self._in_a_row = 0
        self.failures = 0
        self.trips = 0

    def admit(self, now: float, may_probe: bool = True) -> None:
        """Let a call through, or refuse it; each admitted call ends with exactly one report.

        Args:
            may_probe: this call may be the one that tries an open circuit.

        Raises:
            Unavailable: the circuit is open, or another call is the probe.
        """
        if self._open_until is None:
            return
        if now < self._open_until or self._probing or not may_probe:
            raise Unavailable(f"{self._what} is away")
        self._probing = True

    def succeeded(self) -> None:
        """Report an answer, whatever it said."""
        self._open_until = None
        self._probing = False
        self._in_a_row = 0

    def failed(self, now: float) -> None:
        """Report that no answer came."""
        self.failures += 1
        self._in_a_row += 1
        if self._in_a_row >= self._patience:
            self.trips += self._open_until is None or self._probing
            self._open_until = now + self._rest
        self._probing = False

    def abandoned(self) -> None:
        """Report a call that was killed before its outcome showed; the next one may probe."""
        self._probing = False
