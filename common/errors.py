"""Every error the system answers with, and what each one promises.

    RoostError
    ├── ConfigError             a setting is wrong; the process does not start
    ├── RequestError            answered with `error`; the connection goes on
    │   ├── BadPacket           bad_packet     undecodable; also closes (kick protocol)
    │   │   └── PacketTooLarge  bad_packet     refused from its length alone
    │   ├── UnknownOp           unknown_op
    │   ├── BadField            bad_field      fact: field
    │   ├── Unauthorized        unauthorized
    │   ├── Forbidden           forbidden
    │   ├── NotFound            not_found
    │   ├── NotJoined           not_joined
    │   ├── Full                full           fact: limit
    │   ├── Conflict            conflict
    │   ├── RateLimited         rate_limited   retry; fact: after (ms)
    │   ├── Busy                busy           retry
    │   ├── Unavailable         unavailable    retry
    │   ├── DeadlineExceeded    timeout        retry
    │   └── Internal            internal       retry
    └── Kick                    ends a connection: code, reason, reconnect

A class is a promise: `code` (on the wire, in logs and in metrics), `close` (the
connection ends with `kick protocol`), `retry` (the same request may work later).
Facts of one case go in fields and travel with the answer.

Source: docs/protocol.md, section 8.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RoostError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(RoostError):
    """A setting is unknown, of the wrong type or out of bounds."""


class RequestError(RoostError):
    """A request that is answered with `error`.

    Args:
        message: one sentence for the person who reads the client's log.
        facts: fields of this case (`field`, `limit`, `after` …), sent along; none
            of them replaces `code`, `message` or `retry`.
    """

    code: ClassVar[str] = "internal"
    close: ClassVar[bool] = False
    retry: ClassVar[bool] = False

    def __init__(self, message: str = "", /, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def body(self) -> dict[str, Any]:
        """Give the body of the `error` packet: code, message, retry and the facts."""
        return {**self.facts, "code": self.code, "message": self.message, "retry": self.retry}


class BadPacket(RequestError):
    """Not decodable, or not `[string, id, map]`."""

    code = "bad_packet"
    close = True


class PacketTooLarge(BadPacket):
    """The announced length is above the limit; nothing of the body was buffered."""


class UnknownOp(RequestError):
    """An op that docs/protocol.md, section 4, does not have."""

    code = "unknown_op"


class BadField(RequestError):
    """A field is missing, of the wrong type or out of its limits; fact `field` names it."""

    code = "bad_field"


class Unauthorized(RequestError):
    """No valid token, resume token or key."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The token does not give this right."""

    code = "forbidden"


class NotFound(RequestError):
    """What was asked for does not exist."""

    code = "not_found"


class NotJoined(RequestError):
    """The request needs membership in the room (or map) first."""

    code = "not_joined"


class Full(RequestError):
    """A limit on how many is reached; fact `limit`."""

    code = "full"


class Conflict(RequestError):
    """Somebody else has it (a name, the one allowed device)."""

    code = "conflict"


class RateLimited(RequestError):
    """Too many in too short a time; fact `after`, ms until it may work."""

    code = "rate_limited"
    retry = True


class Busy(RequestError):
    """A queue on the way is full."""

    code = "busy"
    retry = True


class Unavailable(RequestError):
    """The process or store that owns the answer is away."""

    code = "unavailable"
    retry = True


class DeadlineExceeded(RequestError):
    """No answer in time; whether it was carried out is not known."""

    code = "timeout"
    retry = True


class Internal(RequestError):
    """A defect on our side; the log of the process has it."""

    code = "internal"
    retry = True


BY_CODE: dict[str, type[RequestError]] = {
    kind.code: kind
    for kind in (
        BadPacket,
        UnknownOp,
        BadField,
        Unauthorized,
        Forbidden,
        NotFound,
        NotJoined,
        Full,
        Conflict,
        RateLimited,
        Busy,
        Unavailable,
        DeadlineExceeded,
        Internal,
    )
}


def rebuild(code: str, message: str, facts: dict[str, Any]) -> RequestError:
    """Give back the error another process answered with; an unknown code becomes Internal."""
    return BY_CODE.get(code, Internal)(message, **facts)


KICKS: dict[str, bool] = {
    "replaced": False,
    "banned": False,
    "unauthorized": False,
    "expired": False,
    "protocol": False,
    "policy": False,
    "slow": True,
    "idle": True,
    "drain": True,
    "restart": True,
    "internal": True,
}
"""kick code -> may the client come back. Order is that of docs/protocol.md, section 8."""


class Kick(RoostError):
    """Ends the connection it is raised for, after telling the client why.

    Args:
        code: a key of KICKS.
        reason: one sentence for the person who reads the client's log.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason

    def body(self) -> dict[str, Any]:
        """Give the body of the `kick` packet: code, reason, reconnect."""
        return {"code": self.code, "reason": self.reason, "reconnect": KICKS[self.code]}
