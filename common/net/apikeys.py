"""API keys in storage, and the log of what was pushed with them.

    db_apikey:<id>         hash    product, hash, scopes, label, created, revoked (ms; absent: holds)
    db_apikeys:{product}   set     ids
    db_audit:{product}     stream  what was pushed, the newest AUDIT_ROWS or a few more

How a key looks, and why one round of SHA-256 is enough, stands in common/wire/apikeys.py.
All calls bear being repeated. A key is never deleted, so what was revoked stays known.
Whoever can write to Redis can make keys; whoever can only read it cannot use one.

Source: docs/storage.md, section 2.
"""

from __future__ import annotations

from typing import Any

import msgpack

from common.errors import NotFound
from common.handlers import Handlers
from common.net.store import Argument, Command, Store, value
from common.wire.apikeys import check_scopes

APIKEYS = Handlers("api key rpc")
AUDIT_ROWS = 100_000
"""Rows of the audit log Redis keeps for a product, about."""
FIELDS = ("product", "hash", "scopes", "label", "created", "revoked")


@APIKEYS.on("apikey_put")
def apikey_put(
    store: Store, product: str, number: str, digest: str, scopes: list[str], label: str, created_ms: int
) -> None:
    """Store a key; the same id again changes nothing but its product's list.

    Raises:
        BadField: a scope is unknown, or none is given.
    """
    check_scopes(scopes)
    facts: dict[str, Argument] = {
        "product": product,
        "hash": digest,
        "scopes": ",".join(scopes),
        "label": label,
        "created": created_ms,
    }
    commands: list[Command] = [("HSETNX", _name(number), field, fact) for field, fact in facts.items()]
    commands.append(("SADD", f"db_apikeys:{{{product}}}", number))
    for reply in store.run(commands):
        value(reply)


@APIKEYS.on("apikey_get")
def apikey_get(store: Store, number: str) -> dict[str, Any] | None:
    """Give a key as stored, None: unknown. It has id and FIELDS; `revoked` is None while it holds."""
    return _read(number, store.call("HMGET", _name(number), *FIELDS))


@APIKEYS.on("apikey_list")
def apikey_list(store: Store, product: str) -> list[dict[str, Any]]:
    """Give a product's keys as `apikey_get` does, oldest first, without their hashes."""
    ids = [number.decode() for number in store.call("SMEMBERS", f"db_apikeys:{{{product}}}")]
    replies = store.run([("HMGET", _name(number), *FIELDS) for number in ids])
    keys = [_read(number, value(reply)) for number, reply in zip(ids, replies, strict=True)]
    known = [{name: key[name] for name in key if name != "hash"} for key in keys if key is not None]
    return sorted(known, key=lambda key: (key["created"], key["id"]))


@APIKEYS.on("apikey_revoke")
def apikey_revoke(store: Store, product: str, number: str, now_ms: int) -> bool:
    """End a key for good; give whether it held until now.

    Raises:
        NotFound: the product has no such key.
    """
    key = apikey_get(store, number)
    if key is None or key["product"] != product:
        raise NotFound(f"product {product!r} has no key {number!r}", id=number)
    return bool(store.call("HSETNX", _name(number), "revoked", now_ms))


@APIKEYS.on("audit_add")
def audit_add(store: Store, rows: list[list[Any]]) -> None:
    """Append [product, entry] each to the products' audit logs; a repeat may write some of them twice."""
    commands = [
        ("XADD", f"db_audit:{{{product}}}", "MAXLEN", "~", AUDIT_ROWS, "*", "entry", msgpack.packb(entry))
        for product, entry in rows
    ]
    for reply in store.run(commands):
        value(reply)


def _read(number: str, stored: list[bytes | None]) -> dict[str, Any] | None:
    if stored[0] is None:
        return None
    product, digest, scopes, label = (text.decode() if text is not None else "" for text in stored[:4])
    return {
        "id": number,
        "product": product,
        "hash": digest,
        "scopes": scopes.split(",") if scopes else [],
        "label": label,
        "created": int(stored[4] or 0),
        "revoked": None if stored[5] is None else int(stored[5]),
    }


def _name(number: str) -> str:
    return f"db_apikey:{number}"
