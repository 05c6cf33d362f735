"""Rows about a stored player, as worlds and dbservers pass them to each other.

    gs:player:{product/uid}     owner, place, route_ver, save_ver, input, blob, change

`owner` may write, nobody else. `route_ver` counts the changes of the owner, `save_ver` the
saves; a change is a comparison with (owner, route_ver), so whoever comes late changes nothing.

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"
STALE = "stale"
"""The caller owns the player and something newer of its own is stored; nothing was changed."""
NOT_OWNER = "not_owner"
"""Another owner, or a later route: nothing was changed. The caller drops the player."""
UNAVAILABLE = "unavailable"
"""Redis refused this one player (out of memory, damaged key); nothing was changed."""

BLOB_LIMIT = 65_536
"""Bytes of a player's state."""
NO_INPUT = -1
"""The number of the last input where there was none."""


class Record(NamedTuple):
    """What is stored of a player.

    Args:
        owner: "name incarnation term"; "" = nobody: it is in no map.
        place: "product/map/line" where it is, or was last; "" = it was nowhere yet.
        input: number of the last input that is in the blob.
        blob: what the map's logic made of it; None before the first save.
    """

    owner: str = ""
    place: str = ""
    route_ver: int = 0
    save_ver: int = 0
    input: int = NO_INPUT
    blob: bytes | None = None


class State(NamedTuple):
    """A player's state on its way to storage."""

    save_ver: int
    input: int
    blob: bytes


class Save(NamedTuple):
    """A save: refused unless (owner, route_ver) is what is stored, and save_ver above it."""

    user: str
    owner: str
    place: str
    route_ver: int
    save_ver: int
    input: int
    blob: bytes


class Change(NamedTuple):
    """A change of the owner, with the state or without; refused unless (owner, route_ver) is what is stored.

    Args:
        id: made once, by the caller, for every try of this change.
        to_owner: "" lets the player go.
        state: None leaves what is stored.
    """

    user: str
    id: str
    owner: str
    route_ver: int
    to_owner: str
    to_place: str
    state: State | None = None


class Answer(NamedTuple):
    """How one save or change ended, and what is stored now."""

    status: str
    owner: str = ""
    place: str = ""
    route_ver: int = 0
    save_ver: int = 0
    change: str = ""
