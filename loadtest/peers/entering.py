"""One connection on its way in: step by step, words and the answer to them."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.peers.peer import Step


class Entering:
    """A connection that is not in yet.

    Args:
        place: of its topic.
        publishes: it only publishes.

    Attributes:
        read: what was read and belongs to no step that is done.
    """

    def __init__(self, place: int, steps: Sequence[Step], publishes: bool = False) -> None:
        self.place = place
        self.publishes = publishes
        self.read = b""
        self.is_connected = False
        self._steps = list(steps)

    @property
    def is_in(self) -> bool:
        """Tell whether all steps are done."""
        return self.is_connected and not self._steps

    def connected(self) -> bytes:
        """It is connected; give what to write first."""
        self.is_connected = True
        return self._steps[0].words if self._steps else b""

    def take(self, data: bytes) -> bytes:
        """Take what was read; give what to write now."""
        self.read += data
        words = b""
        while self._steps and (end := self._steps[0].end(self.read)):
            self.read = self.read[end:]
            del self._steps[0]
            if self._steps:
                words += self._steps[0].words
        return words
