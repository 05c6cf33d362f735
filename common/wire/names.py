"""Names, and the keys the system makes of them.

    name   1–64 bytes of A–Z a–z 0–9 . _ - : @
    room   map/name              as a client says it
    user   product/uid           as everything inside says it
    room   product/map/name      as everything inside says it
    area   product/map           a map with places, all copies of it
    line   product/map/line      a copy of such a map

No name contains "/", so keys of two products never meet.

Source: docs/protocol.md, section 1; docs/storage.md.
"""

from __future__ import annotations

import re

from common.errors import BadField

NAME_LIMIT = 64
"""Bytes of a name: keys in Redis and entries of a gateway's tables stay short."""

_name = re.compile(r"[A-Za-z0-9._:@-]{1,64}").fullmatch
_room = re.compile(r"([A-Za-z0-9._:@-]{1,64})/([A-Za-z0-9._:@-]{1,64})").fullmatch


def is_name(text: object) -> bool:
    """Tell whether this is a name; False for anything that is not a string."""
    return isinstance(text, str) and _name(text) is not None


def is_room(text: object) -> bool:
    """Tell whether this is a room as clients name it, `map/name`."""
    return isinstance(text, str) and _room(text) is not None


def split_room(room: str) -> tuple[str, str]:
    """Give (map, name) of a room as clients name it.

    Raises:
        BadField: not `map/name`; field is "room".
    """
    match = _room(room)
    if match is None:
        raise BadField("room must be map/name", field="room")
    return match[1], match[2]


def user_key(product: str, uid: str) -> str:
    """Give the user inside the system: "product/uid"."""
    return f"{product}/{uid}"


def room_key(product: str, room: str) -> str:
    """Give the room inside the system: "product/map/name"."""
    return f"{product}/{room}"


def area_key(product: str, map_name: str) -> str:
    """Give a map inside the system, all copies of it: "product/map"."""
    return f"{product}/{map_name}"


def product_of(key: str) -> str:
    """Give the product of any key."""
    return key[: key.index("/")]


def uid_of(user_key: str) -> str:
    """Give the uid of a user key."""
    return user_key[user_key.index("/") + 1 :]


def map_of(key: str) -> str:
    """Give the map of "product/map/…", a room or a line, or of an area; "" where there is none."""
    return key.partition("/")[2].partition("/")[0]


def room_of(room_key: str) -> str:
    """Give the room as clients name it, "map/name", of a room key."""
    return room_key[room_key.index("/") + 1 :]
