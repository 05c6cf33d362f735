"""Who is banned, and until when.

    db_bans:{product}   hash   uid -> until ms, 0 = for good

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from common.net.store import Store, value


def ban(store: Store, user: str, until_ms: int) -> None:
    """Ban a user until then; 0: for good. A later call replaces an earlier one."""
    product, uid = user.split("/")
    store.call("HSET", _key(product), uid, until_ms)


def unban(store: Store, user: str) -> bool:
    """Lift a ban; give whether there was one."""
    product, uid = user.split("/")
    return bool(store.call("HDEL", _key(product), uid))


def of_product(store: Store, product: str, now_ms: int) -> dict[str, int]:
    """Give uid -> until ms of the bans that hold; those that have ended are removed."""
    flat = store.call("HGETALL", _key(product))
    bans = {uid.decode(): int(until) for uid, until in zip(flat[::2], flat[1::2], strict=True)}
    ended = [uid for uid, until in bans.items() if 0 < until <= now_ms]
    if ended:
        store.script("bans_end", (_key(product),), *(field for uid in ended for field in (uid, bans[uid])))
    return {uid: until for uid, until in bans.items() if not 0 < until <= now_ms}


def of_users(store: Store, users: list[str], now_ms: int) -> list[int | None]:
    """Give for each user until when the ban holds, in order; None: not banned."""
    pairs = [user.split("/") for user in users]
    replies = [value(reply) for reply in store.run([("HGET", _key(product), uid) for product, uid in pairs])]
    untils = [None if reply is None else int(reply) for reply in replies]
    return [None if until is None or 0 < until <= now_ms else until for until in untils]


def _key(product: str) -> str:
    return f"db_bans:{{{product}}}"
