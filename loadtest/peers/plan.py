"""What one load client is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Subscribers of some topics.

    Args:
        peer: what they talk to, a name of loadtest/peers/table.py.
        options: of that peer.
        pids: of the server's processes, by name.
        layout: begins the topics' names.
        topics: how many.
        subscribers: of each.
        first: number of the first client.
        bytes: of a payload.
        window: messages of a topic under way at most, for a subscriber on the average.
        patience: seconds in which all must be in.
        quiet: seconds without a delivery after which what is still under way counts as lost.
    """

    peer: str
    port: int
    topics: int
    subscribers: int
    pids: Mapping[str, int]
    options: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "topic"
    first: int = 0
    bytes: int = 100
    window: int = 64
    patience: float = 60.0
    quiet: float = 2.0
