"""Players in Redis: their state, who owns them, and the change of the owner.

    gs:player:{product/uid}    hash  owner place route_ver save_ver input blob change

What the owner does with the statuses:

    ok            done; also when it was done before (a repeat)
    stale         it owns the player, and a newer save of its own is stored: nothing to do
    not_owner     another one owns the player, or did in between: drop the player
    unavailable   Redis refused this player (see its log); nothing was stored: repeat

After Unavailable nothing was carried out. After DeadlineExceeded it is unknown: repeat the
same rows, at any dbserver. A row that arrives late, after its sender went on, is refused.

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from common.errors import BadField, RequestError
from common.net.store import Script, Store, value
from common.rules.route import BLOB_LIMIT, NO_INPUT, UNAVAILABLE, Answer, Change, Record, Save

FIELDS = ("owner", "place", "route_ver", "save_ver", "input", "blob")


def load(store: Store, users: Sequence[str]) -> list[Record]:
    """Give what is stored of players, in order; an empty Record for one never seen."""
    replies = store.run([("HMGET", _key(user), *FIELDS) for user in users])
    return [_record(value(reply)) for reply in replies]


def save(store: Store, saves: Sequence[Save]) -> list[Answer]:
    """Store states, each if its owner still owns the player; give how each ended, in order.

    Raises:
        BadField: a blob is too large; nothing was stored.
        Unavailable, DeadlineExceeded, Internal: no row's outcome is known, or all were
            refused for the same reason.
    """
    for one in saves:
        _check(one.blob)
    return _answers(store, [Script("player_save", (_key(one.user),), one[1:]) for one in saves])


def change(store: Store, changes: Sequence[Change]) -> list[Answer]:
    """Change owners, each if the recorded one is as expected; answers and errors as of `save`."""
    scripts = []
    for one in changes:
        save_ver, number, blob = one.state or (0, NO_INPUT, b"")
        _check(blob)
        scripts.append(Script("player_route", (_key(one.user),), (*one[1:6], save_ver, number, blob)))
    return _answers(store, scripts)


def _answers(store: Store, scripts: list[Script]) -> list[Answer]:
    replies = store.run(scripts)
    refused = [reply for reply in replies if isinstance(reply, RequestError)]
    if refused and len(refused) == len(replies):
        raise refused[0]
    return [Answer(UNAVAILABLE) if isinstance(reply, RequestError) else _answer(reply) for reply in replies]


def _answer(reply: list[Any]) -> Answer:
    status, owner, place, route_ver, save_ver, change_id = reply
    return Answer(status.decode(), owner.decode(), place.decode(), route_ver, save_ver, change_id.decode())


def _record(stored: list[bytes | None]) -> Record:
    owner, place, route_ver, save_ver, number, blob = stored
    return Record(
        (owner or b"").decode(),
        (place or b"").decode(),
        int(route_ver or 0),
        int(save_ver or 0),
        NO_INPUT if number is None else int(number),
        blob,
    )


def _check(blob: bytes) -> None:
    if len(blob) > BLOB_LIMIT:
        raise BadField(f"a player's state has at most {BLOB_LIMIT} bytes", field="blob", limit=BLOB_LIMIT)


def _key(user: str) -> str:
    return f"gs:player:{{{user}}}"
