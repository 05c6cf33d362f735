"""API keys: how they look, and what is kept of them.

    rk_<id>_<secret>   id 16, secret 64 hex digits

Only the hash of the secret is stored. It is one round of SHA-256 without salt, on purpose:
slow, salted hashes protect what people choose, since that can be guessed. The secret is
256 random bits; trying even 2^80 of them is out of reach at any speed, no two keys share
one, and center checks a key at every request.

Source: docs/api.md, keys.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final, NamedTuple

from common.errors import BadField

SCOPES: Final = ("push", "read", "users", "rooms", "tasks", "layouts", "admin")
"""What a key may be used for; `admin` includes all."""
ID_BYTES: Final = 8
SECRET_BYTES: Final = 32

_key = re.compile(r"rk_([0-9a-f]{16})_([0-9a-f]{64})").fullmatch


class NewKey(NamedTuple):
    """A key just made: its text is told once, its hash is stored."""

    id: str
    text: str
    hash: str


def make_key(number: bytes, secret: bytes) -> NewKey:
    """Make a key.

    Args:
        number, secret: ID_BYTES and SECRET_BYTES fresh random bytes.
    """
    return NewKey(number.hex(), f"rk_{number.hex()}_{secret.hex()}", hash_of(secret.hex()))


def split_key(text: str) -> tuple[str, str] | None:
    """Give (id, hash of the secret) of a key's text; None when it is no key."""
    match = _key(text)
    return (match[1], hash_of(match[2])) if match else None


def hash_of(secret: str) -> str:
    """Give what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same_hash(one: str, other: str) -> bool:
    """Compare without telling by the time where they differ."""
    return hmac.compare_digest(one, other)


def check_scopes(scopes: list[str]) -> None:
    """Pass silently when there are scopes, and all are known.

    Raises:
        BadField: field is "scopes".
    """
    if not scopes or any(scope not in SCOPES for scope in scopes):
        raise BadField(f"scopes must be of {', '.join(SCOPES)}", field="scopes")
