"""Unique names and public profiles of players.

    gs:name:{product}          hash  name -> uid
    gs:claim:{product}         hash  name -> ms; claims that are not settled yet
    gs:profile:{product/uid}   hash  `name`, `name/former`, and field -> msgpack value

Names of a product and the profile of a user are different hash tags, so no script
can change both. A new name is claimed first, then the profile gets it, then the claim
is settled and the old name released. Whoever dies in between leaves a name whose
holder's profile does not carry it: after `NAME_GRACE` anybody may take it over.

Source: docs/storage.md, section 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack

from common.errors import BadField, Conflict, DeadlineExceeded, Unavailable
from common.net.store import Store, value

FIELDS_LIMIT = 16
BYTES_LIMIT = 4_096
"""Of a profile: field names and packed values, the unique name not counted."""
NAME_BYTES = 64
FIELD_BYTES = 64
NAME_GRACE = 30.0
"""Seconds a claim is left alone; longer than any call may take."""

Profile = tuple[str, str | None, dict[str, Any]]
"""user, unique name, fields."""


def get(store: Store, users: list[str]) -> list[Profile]:
    """Give the profiles of users, in order; (user, None, {}) for one that has none."""
    replies = store.run([("HGETALL", _profile_key(user)) for user in users])
    return [_read(user, value(reply)) for user, reply in zip(users, replies, strict=True)]


def change(
    store: Store,
    user: str,
    name: str | None,
    fields: dict[str, Any],
    clock: Callable[[], float] = time.time,
) -> Profile:
    """Set the unique name and fields of a user; give the profile after it.

    A call that failed half-way may be repeated, at any dbserver.

    Args:
        name: 1–64 bytes; None leaves it as it is.
        fields: field -> value; None removes the field, fields not named stay.
        clock: unix seconds.

    Raises:
        Conflict: the name belongs to somebody else; nothing was changed.
        BadField: `name` or `set` out of bounds; nothing was changed.
    """
    packed = _packed(fields)
    if name is None:
        _write(store, user, "", packed)
        return get(store, [user])[0]
    if not 1 <= len(name.encode()) <= NAME_BYTES:
        raise BadField(f"a name has 1 to {NAME_BYTES} bytes", field="name")
    _claim(store, user, name, clock)
    try:
        before = _write(store, user, name, packed)
    except BadField:
        _let_go(store, user, name)
        raise
    _settle(store, user, name, before)
    return get(store, [user])[0]


def _claim(store: Store, user: str, name: str, clock: Callable[[], float]) -> None:
    product, uid = user.split("/")
    now_ms = int(clock() * 1000)
    reply = store.script("name_claim", _name_keys(product), name, uid, now_ms, "", "")
    if reply[0] == b"ok":
        return
    holder, claimed = reply[1].decode(), reply[2].decode()
    young = claimed and now_ms - int(claimed) < NAME_GRACE * 1000
    taken = Conflict("the name is taken", field="name")
    if young or store.call("HGET", _profile_key(f"{product}/{holder}"), "name") == name.encode():
        raise taken
    reply = store.script("name_claim", _name_keys(product), name, uid, now_ms, holder, claimed)
    if reply[0] != b"ok":
        raise taken


def _write(store: Store, user: str, name: str, packed: list[str | bytes]) -> str:
    """Write name and fields; give the name to release ("" when there is none)."""
    key = (_profile_key(user),)
    verdict, before = store.script("profile_write", key, FIELDS_LIMIT, BYTES_LIMIT, name, *packed)
    if verdict == b"fields":
        raise BadField(f"a profile has at most {FIELDS_LIMIT} fields", field="set", limit=FIELDS_LIMIT)
    if verdict == b"bytes":
        raise BadField(f"a profile has at most {BYTES_LIMIT} bytes", field="set", limit=BYTES_LIMIT)
    return str(before, "utf-8")


def _settle(store: Store, user: str, name: str, before: str) -> None:
    """End the claim and release the old name.

    Raises:
        Conflict: this call was so late that the name was taken over; the old one is back.
    """
    product, uid = user.split("/")
    if store.script("name_settle", _name_keys(product), uid, name, before):
        return
    if store.script("profile_rename", (_profile_key(user),), name, before):
        raise Conflict("the name is taken", field="name")


def _let_go(store: Store, user: str, name: str) -> None:
    """Release a claimed name that the profile did not get; where that fails it is an orphan."""
    product, uid = user.split("/")
    with suppress(Unavailable, DeadlineExceeded):
        kept = store.call("HGET", _profile_key(user), "name") or b""
        store.script("name_settle", _name_keys(product), uid, kept, name)


def _packed(fields: dict[str, Any]) -> list[str | bytes]:
    """Give field, packed value, field, packed value …; b"" stands for "remove"."""
    packed: list[str | bytes] = []
    for field, content in fields.items():
        if not 1 <= len(field.encode()) <= FIELD_BYTES or field == "name" or "/" in field:
            raise BadField("a field has 1 to 64 bytes, no `/`, and is not `name`", field="set")
        packed += [field, b"" if content is None else msgpack.packb(content)]
    return packed


def _read(user: str, flat: list[bytes]) -> Profile:
    stored = dict(zip(flat[::2], flat[1::2], strict=True))
    name = stored.pop(b"name", None)
    stored.pop(b"name/former", None)
    fields = {field.decode(): msgpack.unpackb(content) for field, content in stored.items()}
    return user, None if name is None else name.decode(), fields


def _name_keys(product: str) -> tuple[str, str]:
    return f"gs:name:{{{product}}}", f"gs:claim:{{{product}}}"


def _profile_key(user: str) -> str:
    return f"gs:profile:{{{user}}}"
