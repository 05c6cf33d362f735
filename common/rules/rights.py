"""What a token lets its bearer do; equal rights are one shared object.

A gateway keeps a reference per connection, and most tokens of a product say the same.

Source: docs/protocol.md, sections 6 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from common.rules.patterns import fits

REMEMBERED = 4096
"""Different rights kept for sharing; one that fell out is only made again."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Rights of one token.

    Args:
        rooms: (pattern of map/name, actions) pairs; None: all that the map allows.
        scopes: None: all.
    """

    rooms: tuple[tuple[str, tuple[str, ...]], ...] | None
    scopes: tuple[str, ...] | None

    def may_room(self, action: str, room: str) -> bool:
        """Tell whether `join`, `publish`, `history` or `presence` is allowed in "map/name"."""
        if self.rooms is None:
            return True
        return any(action in actions and fits(pattern, room) for pattern, actions in self.rooms)

    def has_scope(self, scope: str) -> bool:
        """Tell whether `send`, `watch`, `profile` or `enter` is allowed."""
        return self.scopes is None or scope in self.scopes


@lru_cache(maxsize=REMEMBERED)
def rights_of(
    rooms: tuple[tuple[str, tuple[str, ...]], ...] | None, scopes: tuple[str, ...] | None
) -> Rights:
    """Give the rights a token's claims stand for, the same object for the same claims."""
    return Rights(rooms, scopes)
