"""Who has ever been here, when last, and for how long.

    db_users:{product}    zset    uid -> join sequence, given once
    db_useq:{product}     string  counter of it
    db_seen:{product}     zset    uid -> last seen, ms; never goes back
    db_online:{product}   hash    uid -> seconds online
    db_batch:{product}:<digest>   string, 10 min: this batch's online time is added

A user exists from the first login, or from `add`; only who exists gets kept messages.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgpack

from common.net.devices import Meta, read_meta
from common.net.mailbox import meta_key
from common.net.store import Argument, Script, Store, value
from common.rules.devices import ALL_DEVICES
from common.wire.names import uid_of

BATCH_ROWS = 500
"""Rows one script takes: bounds how long Redis is busy with it (a few ms)."""
CHECK_ROWS = 1_000
"""Uids one command asks for."""
BATCH_SECONDS = 600
"""How long a repeated batch is recognised."""


def note(store: Store, rows: list[Any]) -> None:
    """Write a batch of [user, seen_ms, online_seconds_added].

    After a failure repeat exactly the same rows in the same order, at any dbserver: a
    batch is known by its content, so online time is not added twice.

    Raises:
        Unavailable, DeadlineExceeded: some of it may be written.
    """
    by_product: dict[str, list[tuple[str, int, float]]] = {}
    for user, seen_ms, online in rows:
        product, uid = user.split("/")
        by_product.setdefault(product, []).append((uid, seen_ms, online))
    for reply in store.run([s for product, group in by_product.items() for s in _scripts(product, group)]):
        value(reply)


def add(store: Store, user: str) -> int:
    """Make a user without a login; give the join sequence. A user there is stays as it is."""
    note(store, [[user, 0, 0]])
    product, uid = user.split("/")
    return int(store.call("ZSCORE", f"db_users:{{{product}}}", uid))


def unknown(store: Store, product: str, users: Sequence[str]) -> list[str]:
    """Give the uids of those users who do not exist, in order; one round trip.

    Args:
        users: product/uid, all of this product.
    """
    uids = [uid_of(user) for user in users]
    parts = [uids[begin : begin + CHECK_ROWS] for begin in range(0, len(uids), CHECK_ROWS)]
    replies = store.run([("ZMSCORE", f"db_users:{{{product}}}", *part) for part in parts])
    scores = [score for reply in replies for score in value(reply)]
    return [uid for uid, score in zip(uids, scores, strict=True) if score is None]


def adopt(store: Store, product: str, uids: Sequence[str]) -> list[str]:
    """Make users of those uids that have logged in, though nobody has noted them yet; give the others.

    Session notes who logged in a moment later; the login has begun the mailbox before.
    """
    users = [f"{product}/{uid}" for uid in uids]
    replies = store.run([("HEXISTS", meta_key(user), "seq") for user in users])
    is_there = [bool(value(reply)) for reply in replies]
    came = [user for user, there in zip(users, is_there, strict=True) if there]
    if came:
        note(store, [[user, 0, 0] for user in came])
    return [uid for uid, there in zip(uids, is_there, strict=True) if not there]


class About(NamedTuple):
    """What is stored of a user: join sequence and last seen (None: never), seconds online, slots, mailbox."""

    sequence: int | None
    seen_ms: int | None
    online: float
    depth: int
    mailbox: Meta


def about(store: Store, user: str) -> About:
    """Give what is stored of a user; one round trip."""
    product, uid = user.split("/")
    replies = store.run(
        [
            ("ZSCORE", f"db_users:{{{product}}}", uid),
            ("ZSCORE", f"db_seen:{{{product}}}", uid),
            ("HGET", f"db_online:{{{product}}}", uid),
            ("LLEN", f"db_slots:{{{user}}}"),
            ("HGETALL", meta_key(user)),
        ]
    )
    sequence, seen, online, depth, meta = (value(reply) for reply in replies)
    numbers = [None if score is None else int(score) for score in (sequence, seen)]
    return About(numbers[0], numbers[1], float(online or 0), depth, read_meta(meta))


def tags_of(store: Store, devices: Sequence[Sequence[str]]) -> list[list[str] | None]:
    """Give the tags set for each device, [user, device], in order; None where none are. One round trip."""
    replies = store.run([("HGET", meta_key(user), f"t/{device}") for user, device in devices])
    stored = [value(reply) for reply in replies]
    return [None if tags is None else tags.decode().split() for tags in stored]


def logins_ended(store: Store, devices: Sequence[Sequence[str]]) -> list[int]:
    """Give the highest login epoch ended of each [user, device], in order; 0 = none. One round trip."""
    commands = [("HMGET", meta_key(user), f"e/{device}", f"e/{ALL_DEVICES}") for user, device in devices]
    return [max(int(epoch or 0) for epoch in value(reply)) for reply in store.run(commands)]


def _scripts(product: str, rows: list[tuple[str, int, float]]) -> list[Script]:
    rest = iter(rows)
    scripts = []
    while batch := list(islice(rest, BATCH_ROWS)):
        digest = hashlib.blake2b(msgpack.packb(batch), digest_size=16).hexdigest()
        args: list[Argument] = [field for row in batch for field in row]
        scripts.append(Script("users_seen", _keys(product, digest), (BATCH_SECONDS, *args)))
    return scripts


def _keys(product: str, digest: str) -> tuple[str, ...]:
    names = ("db_users", "db_useq", "db_seen", "db_online")
    return (*(f"{name}:{{{product}}}" for name in names), f"db_batch:{{{product}}}:{digest}")
