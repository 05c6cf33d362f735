"""How large a run is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from loadtest.words import changed, json_or_text


class Layout(NamedTuple):
    """How the subscribers are spread: so many topics with so many each."""

    name: str
    topics: int
    subscribers: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """One run.

    Args:
        peers: which, names of loadtest/peers/table.py with commas between; "": all.
        rounds: repetitions of each; the figures are medians.
        subscribers: connections to a server.
        room: subscribers of a topic, in the layout "rooms"; in the layout "one" all are in one topic.
        bytes: of a payload.
        rates: deliveries a second of the steady phases, lowest first.
        steady: seconds of each of these.
        saturate: seconds of each of the others.
        warm_up: seconds of it before the first that counts.
        window: messages of a topic under way at most.
        settle: seconds of quiet before memory is read: a Roost connection parks after 1.5.
    """

    peers: str = ""
    rounds: int = 5
    subscribers: int = 1_000
    room: int = 100
    bytes: int = 100
    rates: Sequence[int] = (10_000, 50_000)
    steady: float = 1.5
    saturate: float = 2.0
    warm_up: float = 0.3
    window: int = 64
    settle: float = 2.5

    @property
    def layouts(self) -> list[Layout]:
        """The layouts, in the order they are tried."""
        return [
            Layout("rooms", max(1, self.subscribers // self.room), min(self.room, self.subscribers)),
            Layout("one", 1, self.subscribers),
        ]

    def changed(self, words: list[str]) -> Size:
        """Give another size by words "name=value"; what is no JSON is taken for a text.

        Raises:
            ValueError: a word is none of that form, or names nothing.
        """
        return changed(self, words, json_or_text)
