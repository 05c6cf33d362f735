"""What a map asks to be done for a player that takes time; carried out behind the tick.

Source: docs/worlds.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from common.rules.entity import Player


class Sending(NamedTuple):
    """Move a player to another map.

    Args:
        data: what `on_enter` of the other map is called with.
    """

    player: Player
    map: str
    data: Any


class Saving(NamedTuple):
    """Store a player now.

    Args:
        then: called with whether what it is now, or later, is stored.
    """

    player: Player
    then: Callable[[bool], None]


Errand = Sending | Saving
