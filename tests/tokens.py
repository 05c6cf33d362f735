"""Tokens as a product's server would make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from common.wire.tokens import Key


def sign_token(
    uid: str,
    product: str,
    exp: int,
    key: Key,
    rooms: Mapping[str, Sequence[str]] | None = None,
    scopes: Sequence[str] | None = None,
    tags: Sequence[str] = (),
) -> str:
    """Give a token as a product's server would make it; for tests.

    Args:
        exp: unix seconds.
        key: with the secret (HS256) or the private key as PEM.
    """
    payload: dict[str, Any] = {"sub": uid, "product": product, "exp": exp}
    if rooms is not None:
        payload["rooms"] = {pattern: list(actions) for pattern, actions in rooms.items()}
    if scopes is not None:
        payload["scopes"] = list(scopes)
    if tags:
        payload["tags"] = list(tags)
    return jwt.encode(payload, key.key, key.algorithm, headers={"kid": key.kid} if key.kid else None)
