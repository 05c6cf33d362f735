"""Who a client is: signed tokens of the product, and our own resume tokens.

    token    a JWT (HS256, RS256, EdDSA), made by the product's own servers
    resume   user|kind|login epoch|exp|rooms|scopes|tags|mac
             rooms   pattern=rights,… or ! for all; rights and scopes: hex bit masks
             mac     HMAC-SHA256 over the device and all before it, 18 bytes, base64

A resume token holds no device: it is part of what the mac covers, so the token is
worth nothing on another one, and the longest names still make no more than 512 bytes.

Source: docs/protocol.md, section 9; RFC 7519.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from common.errors import ConfigError, Unauthorized
from common.wire.mac import mac_under
from common.wire.names import is_name, product_of, uid_of, user_key
from common.wire.signatures import ALGORITHMS, verifier

ACTIONS: Final = ("join", "publish", "history", "presence")
"""What a token may allow in rooms; the order is that of the bits in resume tokens."""
SCOPES: Final = ("send", "watch", "profile", "enter")
SKEW_SECONDS: Final = 60
"""Clocks of the product's servers may differ from ours by this much."""
TAGS_LIMIT: Final = 16
RIGHTS_BYTES: Final = 256
"""rooms, scopes and tags together, as JSON: a gateway holds them per connection."""
RESUME_BYTES: Final = 512

Rooms = tuple[tuple[str, tuple[str, ...]], ...]
"""(pattern, actions) pairs; None stands for all that the map allows."""

_MALFORMED: Final = (ValueError, RecursionError)
"""What reading a stranger's JWT may raise; the last from JSON nested deeply."""
_EXP_LIMIT: Final = (2**53 - 1) // 1000
_ALL: Final = "!"
_pattern = re.compile(r"[A-Za-z0-9._:@*/-]{1,129}").fullmatch


class Key(Protocol):
    """A key tokens are signed with; `settings.TokenKey` is one."""

    @property
    def kid(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def key(self) -> str: ...


class Claims(NamedTuple):
    """What a verified token says. `exp` is in unix seconds."""

    uid: str
    product: str
    exp: int
    rooms: Rooms | None = None
    scopes: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        """The user inside the system, "product/uid"."""
        return user_key(self.product, self.uid)


class Resume(NamedTuple):
    """What a resume token stands for. `epoch` is that of the login, `exp` unix seconds."""

    user: str
    device: str
    kind: str
    epoch: int
    exp: int
    rooms: Rooms | None = None
    scopes: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()

    @property
    def claims(self) -> Claims:
        """What the token of that login said."""
        return Claims(uid_of(self.user), product_of(self.user), self.exp, self.rooms, self.scopes, self.tags)


def check_keys(keys: Sequence[Key]) -> None:
    """Pass silently when tokens can be verified with each of these keys.

    Raises:
        ConfigError: naming the first key that cannot be used, and why.
    """
    for index, key in enumerate(keys):
        try:
            verifier(key.algorithm, key.key)
        except ValueError as error:
            raise ConfigError(f"auth.keys[{index}].key (kid {key.kid!r}): {error}") from None


def verify_token(text: str, keys: Sequence[Key], now: float) -> Claims:
    """Give what a token says, once its signature and every claim hold.

    Args:
        keys: as configured; the token's `kid` chooses, "" when it has none.
        now: unix seconds.

    Raises:
        Unauthorized: the message says what is wrong with it.
    """
    algorithm, kid = _header(text.partition(".")[0])
    if algorithm not in ALGORITHMS:
        raise Unauthorized(f"token's algorithm is none of {', '.join(ALGORITHMS)}")
    named = [key for key in keys if key.kid == kid]
    if not named:
        raise Unauthorized("no key has the token's kid" if kid else "token has no kid, and all keys have one")
    fitting = [key for key in named if key.algorithm == algorithm]
    if not fitting:
        raise Unauthorized("token's algorithm is not that of its key")
    return _claims(_payload(*_parts(text), fitting), now)


@lru_cache(maxsize=64)
def _header(segment: str) -> tuple[Any, str]:
    """Give (algorithm, kid) of a token's first segment; all tokens of a product share it.

    Raises:
        Unauthorized: it is no JWT header. Nothing is remembered then.
    """
    try:
        header = json.loads(_decoded(segment.encode()))
    except _MALFORMED as error:
        raise Unauthorized(f"token is no JWT: {error}") from None
    if not isinstance(header, dict) or not isinstance(kid := header.get("kid", ""), str):
        raise Unauthorized("token is no JWT: its header is no object, or its kid no string")
    if "crit" in header or "b64" in header:
        raise Unauthorized("token's header asks for an extension (crit, b64); none is known here")
    return header.get("alg"), kid


def _parts(text: str) -> tuple[bytes, bytes, bytes]:
    """Give what was signed, the payload and the signature.

    Raises:
        Unauthorized: these are not three parts in base64url.
    """
    try:
        signed, signature = text.encode().rsplit(b".", 1)
        return signed, _decoded(signed.split(b".", 1)[1]), _decoded(signature)
    except (ValueError, IndexError):
        raise Unauthorized("token is no JWT: not three parts in base64url") from None


def _decoded(segment: bytes) -> bytes:
    return base64.b64decode(segment + b"=" * (-len(segment) % 4), b"-_", validate=True)


def _payload(signed: bytes, payload: bytes, signature: bytes, keys: list[Key]) -> dict[str, Any]:
    """Give the payload if one of the keys signed it; all have the token's algorithm."""
    try:
        if not any(verifier(key.algorithm, key.key)(signed, signature) for key in keys):
            raise Unauthorized("token is not valid: its signature is not that of its key")
        found = json.loads(payload.decode())
    except _MALFORMED as error:
        raise Unauthorized(f"token is not valid: {error}") from None
    if not isinstance(found, dict):
        raise Unauthorized("token is not valid: its payload is no object")
    return found


def _claims(payload: dict[str, Any], now: float) -> Claims:
    uid, product = payload.get("sub"), payload.get("product")
    if not is_name(uid):
        raise Unauthorized("token's sub is missing or no name")
    if not is_name(product):
        raise Unauthorized("token's product is missing or no name")
    exp = _seconds(payload, "exp")
    if exp + SKEW_SECONDS <= now:
        raise Unauthorized("token is expired")
    if "nbf" in payload and _seconds(payload, "nbf") - SKEW_SECONDS > now:
        raise Unauthorized("token is not valid yet")
    rights = {name: payload[name] for name in ("rooms", "scopes", "tags") if name in payload}
    if not rights:
        return Claims(str(uid), str(product), exp)
    if len(json.dumps(rights, separators=(",", ":"))) > RIGHTS_BYTES:
        raise Unauthorized(f"token's rooms, scopes and tags take more than {RIGHTS_BYTES} bytes")
    return Claims(
        str(uid),
        str(product),
        exp,
        _rooms(rights["rooms"]) if "rooms" in rights else None,
        _chosen("scopes", rights["scopes"], SCOPES) if "scopes" in rights else None,
        _tags(rights.get("tags", [])),
    )


def _seconds(payload: dict[str, Any], name: str) -> int:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _EXP_LIMIT:
        raise Unauthorized(f"token's {name} is missing or no time")
    return int(value)


def _rooms(value: Any) -> Rooms:
    if not isinstance(value, dict) or not all(map(_pattern, value)):
        raise Unauthorized("token's rooms is no map from patterns of map/name")
    return tuple((pattern, _chosen("rooms", actions, ACTIONS)) for pattern, actions in value.items())


def _chosen(name: str, value: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(item in known for item in value):
        raise Unauthorized(f"token's {name} may list only {', '.join(known)}")
    return tuple(item for item in known if item in value)


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > TAGS_LIMIT or not all(map(is_name, value)):
        raise Unauthorized(f"token's tags is no list of at most {TAGS_LIMIT} names")
    return tuple(value)


def issue_resume(secret: bytes, resume: Resume) -> str:
    """Give the resume token of a login, at most 512 bytes of ASCII."""
    rooms = _ALL
    if resume.rooms is not None:
        rooms = ",".join(f"{pattern}={_mask(actions, ACTIONS)}" for pattern, actions in resume.rooms)
    scopes = _ALL if resume.scopes is None else _mask(resume.scopes, SCOPES)
    parts = (resume.user, resume.kind, resume.epoch, resume.exp, rooms, scopes, ",".join(resume.tags))
    text = "|".join(map(str, parts))
    return f"{text}|{_mac(secret, resume.device, text)}"


def read_resume(secret: bytes, text: str, device: str, now: float) -> Resume:
    """Give the login a resume token stands for.

    Args:
        device: the one that shows the token; it must be the one it was issued to.
        now: unix seconds.

    Raises:
        Unauthorized: not ours, of another device, or at its end.
    """
    if len(text) > RESUME_BYTES or not text.isascii():
        raise Unauthorized("no resume token of ours")
    signed, _, mac = text.rpartition("|")
    if not hmac.compare_digest(mac, _mac(secret, device, signed)):
        raise Unauthorized("no resume token of ours for this device")
    user, kind, epoch, exp, rooms, scopes, tags = signed.split("|")
    if int(exp) <= now:
        raise Unauthorized("resume token is expired")
    return Resume(
        user,
        device,
        kind,
        int(epoch),
        int(exp),
        None if rooms == _ALL else _read_rooms(rooms),
        None if scopes == _ALL else _unmask(scopes, SCOPES),
        tuple(tags.split(",")) if tags else (),
    )


def _read_rooms(text: str) -> Rooms:
    pairs = (entry.split("=") for entry in text.split(",") if entry)
    return tuple((pattern, _unmask(mask, ACTIONS)) for pattern, mask in pairs)


def _mac(secret: bytes, device: str, text: str) -> str:
    digest = mac_under(secret)(f"roost resume 1|{device}|{text}".encode())
    return base64.urlsafe_b64encode(digest[:18]).decode()


def _mask(chosen: Sequence[str], known: tuple[str, ...]) -> str:
    return f"{sum(1 << bit for bit, item in enumerate(known) if item in chosen):x}"


def _unmask(mask: str, known: tuple[str, ...]) -> tuple[str, ...]:
    bits = int(mask, 16)
    return tuple(item for bit, item in enumerate(known) if bits >> bit & 1)
