"""Makes client tokens with the cluster's own key."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

import jwt

from common.wire.names import is_name

PRODUCT = "demo"
"""Taken where none is given."""
RIGHTS = ("join", "publish", "history", "presence")
SCOPES = ("send", "watch", "profile", "enter")
TAG_LIMIT = 16
CLAIMS_LIMIT = 256
"""Bytes rooms, scopes and tags may take together: the resume token carries them."""
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
DAY = 86_400


def make_token(key: str, uid: str, product: str, now: float, ttl: int, claims: dict[str, Any]) -> str:
    """Give a signed token (HS256).

    Args:
        now: unix seconds.
        ttl: seconds it is good for.
        claims: `rooms`, `scopes`, `tags` as docs/protocol.md, section 9, has them.
    """
    payload = {"sub": uid, "product": product, "exp": int(now) + ttl, **claims}
    return jwt.encode(payload, key, algorithm="HS256")


def name(text: str) -> str:
    """Read a uid or a product."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text!r}: must be 1 to 64 of A-Z a-z 0-9 . _ - : @")
    return text


def add_product(it: argparse.ArgumentParser) -> None:
    """Declare `--product` for a command that is about one."""
    it.add_argument("--product", type=name, default=PRODUCT, help=f"{PRODUCT} unless given")


def count(text: str) -> int:
    """Read a number of lines; 0 for none."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: must be 0 or more")
    return int(text)


def seconds(text: str) -> int:
    """Read a time: `90`, `90s`, `15m`, `8h`, `30d`."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if not found or int(found[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: must be seconds, or a number with s, m, h or d")
    return int(found[1]) * UNITS[found[2]]


def rooms(text: str) -> dict[str, list[str]]:
    """Read `PATTERN=RIGHT,RIGHT;PATTERN=…`, or the claim itself as JSON."""
    if text.lstrip().startswith("{"):
        return _checked_rooms(_json(text))
    claim = {}
    for part in filter(None, text.split(";")):
        pattern, _, rights = part.partition("=")
        claim[pattern.strip()] = listed(rights) if rights else list(RIGHTS)
    return _checked_rooms(claim)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None


def _checked_rooms(claim: Any) -> dict[str, list[str]]:
    for pattern, rights in claim.items():
        wrong = [right for right in rights if right not in RIGHTS] if isinstance(rights, list) else [rights]
        if wrong or not pattern:
            raise argparse.ArgumentTypeError(
                f"{pattern}={wrong}: must be a pattern with a list of {', '.join(RIGHTS)}"
            )
    return claim  # type: ignore[no-any-return]


def listed(text: str) -> list[str]:
    """Read `a,b,c`."""
    return [part.strip() for part in text.split(",") if part.strip()]


def scopes(text: str) -> list[str]:
    """Read a list of scopes."""
    wrong = [part for part in listed(text) if part not in SCOPES]
    if wrong:
        raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: must be of {', '.join(SCOPES)}")
    return listed(text)


def tags(text: str) -> list[str]:
    """Read a list of tags."""
    found = [name(part) for part in listed(text)]
    if len(found) > TAG_LIMIT:
        raise argparse.ArgumentTypeError(f"{len(found)} tags: at most {TAG_LIMIT}")
    return found


def claims_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Gather the optional claims that were given.

    Raises:
        ValueError: together they are too large for any gateway to take.
    """
    given = {key: getattr(arguments, key) for key in ("rooms", "scopes", "tags")}
    claims = {key: value for key, value in given.items() if value is not None}
    size = len(json.dumps(claims, separators=(",", ":")).encode())
    if claims and size > CLAIMS_LIMIT:
        raise ValueError(f"rooms, scopes and tags take {size} bytes together, at most {CLAIMS_LIMIT}")
    return claims
