"""`./roost apikey`: makes, lists and revokes the keys application servers use at center."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from common.net.dbclient import Dbservers
from common.places import Places
from common.settings import Settings
from common.wire.apikeys import ID_BYTES, SCOPES, SECRET_BYTES, make_key
from tools import cluster

COLUMNS = ("id", "scopes", "created", "revoked", "label")


@contextmanager
def dbservers(settings: Settings) -> Iterator[Dbservers]:
    """Give the running cluster's dbservers.

    Raises:
        ConfigError: nothing runs in the run folder.
    """
    from common.net.rpc import Callers, Context  # zerorpc is slow to import

    places = Places(settings)
    cluster.check_runs(places.run_dir)
    context = Context()
    callers = Callers(context, places, "roost", settings.rpc)
    try:
        yield Dbservers(callers, places)
    finally:
        callers.close()
        context.destroy(linger=0)


def create(settings: Settings, product: str, scopes: list[str], label: str) -> str:
    """Make a key; give its text, which nobody can tell again.

    Raises:
        RequestError: it was not stored, as far as is known.
    """
    made = make_key(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    with dbservers(settings) as store:
        store.call("apikey_put", product, made.id, made.hash, scopes, label, _now_ms())
    return made.text


def listed(settings: Settings, product: str) -> list[str]:
    """Give a product's keys, a line each, oldest first; columns as in COLUMNS, tabs between."""
    with dbservers(settings) as store:
        keys: list[dict[str, Any]] = store.call("apikey_list", product)
    return ["\t".join(COLUMNS), *("\t".join(_cells(key)) for key in keys)]


def revoke(settings: Settings, product: str, number: str) -> bool:
    """End a key for good; give whether it held until now.

    Args:
        number: the key's id, or the whole key.
    """
    parts = number.split("_")
    with dbservers(settings) as store:
        answer = store.call("apikey_revoke", product, parts[1] if len(parts) == 3 else number, _now_ms())
    return bool(answer)


def scopes_of(text: str) -> list[str]:
    """Read `push,read`; each once, in the order of SCOPES.

    Raises:
        ValueError: one is unknown, or there is none.
    """
    given = {part.strip() for part in text.split(",") if part.strip()}
    if not given or not given <= set(SCOPES):
        raise ValueError(f"--scopes {text!r}: must be of {','.join(SCOPES)}")
    return [scope for scope in SCOPES if scope in given]


def run(settings: Settings, action: str, product: str, scopes: str, label: str, number: str | None) -> int:
    """Carry out what was typed; a new key is all that is printed.

    Raises:
        ValueError: something is missing.
        RequestError: no dbserver did it.
    """
    if action == "list":
        print("\n".join(listed(settings, product)))
        return 0
    if action == "revoke":
        if number is None:
            raise ValueError("revoke which key? its id stands in `./roost apikey list`")
        print("revoked" if revoke(settings, product, number) else "was revoked before")
        return 0
    print(create(settings, product, scopes_of(scopes), label))
    return 0


def _cells(key: dict[str, Any]) -> list[str]:
    revoked = "-" if key["revoked"] is None else _time(key["revoked"])
    return [key["id"], ",".join(key["scopes"]), _time(key["created"]), revoked, key["label"]]


def _time(ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))


def _now_ms() -> int:
    return int(time.time() * 1000)
