"""How large a run is, and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from loadtest.words import changed


@dataclass(frozen=True, kw_only=True)
class Size:
    """One run.

    Args:
        connections: in all; each flock has one gateway, and its share of them.
        gateways: so many that all fit on one fewer.
        room_size: members of a room; a room's members are spread over all gateways.
        logins_at_once: flocks that come in at the same time.
        window: logins under way in each of these; in a storm in every flock.
        ping_every: seconds between two pings of a client.
        idle: seconds an idle cluster is looked at, in the phase of that name.
        look_every: seconds between two looks of a flock at its sockets.
        settle: seconds of quiet behind the last login and between phases.
        hold: seconds.
        messages, unicasts: room messages, and unicasts by REST, a second, while holding.
        kept: every so-many-th unicast is kept, and acked; 0: none.
        rush: seconds of each busy phase.
        rush_messages: room messages a second in the rush of rooms.
        rush_unicasts: unicasts a second in the rush of unicasts.
        bytes: padding of a message.
        storm: share of the connections that leave at once.
        patience: seconds a phase waits for what must come; the logins have as long for each 10,000.
        sample: seconds between two looks at all processes.
        metrics: seconds between two at center's /metrics, which keeps center busy.
    """

    connections: int
    gateways: int
    room_size: int = 1_000
    logins_at_once: int = 3
    window: int = 512
    ping_every: float = 115.0
    look_every: float = 0.05
    idle: float = 20.0
    settle: float = 15.0
    hold: float = 600.0
    messages: float = 20.0
    unicasts: float = 100.0
    kept: int = 10
    rush: float = 30.0
    rush_messages: float = 50.0
    rush_unicasts: float = 200.0
    bytes: int = 64
    storm: float = 0.1
    patience: float = 120.0
    sample: float = 5.0
    metrics: float = 30.0

    @property
    def rooms(self) -> int:
        """How many rooms there are."""
        return ceil(self.connections / self.room_size)

    @property
    def flock_size(self) -> int:
        """Connections of a flock; the last one has the rest."""
        return ceil(self.connections / self.gateways)

    @property
    def flocks(self) -> int:
        """How many flocks that makes."""
        return ceil(self.connections / self.flock_size)

    def changed(self, words: list[str]) -> Size:
        """Give another size by words "name=value".

        Raises:
            ValueError: a word is none of that form, or names nothing.
        """
        return changed(self, words)


SIZES = {
    "c100k": Size(connections=100_000, gateways=7, ping_every=50.0, hold=120.0),
    "c1000k": Size(connections=1_000_000, gateways=56),
}
