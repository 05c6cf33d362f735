"""Every error the client raises, and what each one promises.

    RoostError
    ├── RequestError         the server answered `error`: code, message, retry, facts
    │   ├── BadPacket        bad_packet
    │   │   └── PacketTooLarge  refused here, before it was sent
    │   ├── UnknownOp        unknown_op
    │   ├── BadField         bad_field      fact: field
    │   ├── Unauthorized     unauthorized
    │   ├── Forbidden        forbidden
    │   ├── NotFound         not_found
    │   ├── NotJoined        not_joined
    │   ├── Full             full           fact: limit
    │   ├── Conflict         conflict
    │   ├── RateLimited      rate_limited   retry; fact: after (ms)
    │   ├── Busy             busy           retry
    │   ├── Unavailable      unavailable    retry
    │   ├── DeadlineExceeded timeout        retry
    │   └── Internal         internal       retry
    ├── Timeout              no answer in the time given; maybe carried out    (a TimeoutError)
    ├── ConnectionLost       the connection went or is not there; maybe carried out
    │   └── ProtocolError    the server sent what the protocol does not allow  (ConnectionErrors)
    └── ClientClosed         closed for good: code and reason say why

`retry` says whether the same request may work later.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RoostError(Exception):
    """Base of all errors raised on purpose."""

    retry: bool = False


class RequestError(RoostError):
    """The server's answer to a request was `error`.

    Attributes:
        code: what happened, as on the wire.
        message: one sentence for the person who reads the log.
        retry: the same request may work later.
        facts: the other fields of the answer (`field`, `limit`, `after` in ms …).
    """

    default_code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        retry: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.code = self.default_code if code is None else code
        super().__init__(f"{self.code}: {message}" if message else self.code)
        self.message = message
        self.retry = retry
        self.facts = facts or {}


class BadPacket(RequestError):
    """The server could not read the packet."""

    default_code = "bad_packet"


class PacketTooLarge(BadPacket):
    """Larger than the server takes (64 KiB); nothing was sent."""


class UnknownOp(RequestError):
    """The server does not know this op."""

    default_code = "unknown_op"


class BadField(RequestError):
    """A field is missing, of the wrong type or out of its limits; fact `field` names it."""

    default_code = "bad_field"


class Unauthorized(RequestError):
    """No valid token."""

    default_code = "unauthorized"


class Forbidden(RequestError):
    """The token does not give this right."""

    default_code = "forbidden"


class NotFound(RequestError):
    """What was asked for does not exist."""

    default_code = "not_found"


class NotJoined(RequestError):
    """The request needs membership in the room (or map) first."""

    default_code = "not_joined"


class Full(RequestError):
    """A limit on how many is reached."""

    default_code = "full"


class Conflict(RequestError):
    """Somebody else has it (a name, the one allowed device)."""

    default_code = "conflict"


class RateLimited(RequestError):
    """Too many in too short a time; fact `after`, ms until it may work."""

    default_code = "rate_limited"


class Busy(RequestError):
    """A queue on the way is full."""

    default_code = "busy"


class Unavailable(RequestError):
    """The process or store that owns the answer is away."""

    default_code = "unavailable"


class DeadlineExceeded(RequestError):
    """The server had no answer in time; whether it was carried out is not known."""

    default_code = "timeout"


class Internal(RequestError):
    """A defect of the server."""

    default_code = "internal"


class Timeout(RoostError, TimeoutError):
    """No answer within the time the caller gave; whether it was carried out is not known."""

    retry = True


class ConnectionLost(RoostError, ConnectionError):
    """The connection went before the answer came, or there is none now."""

    retry = True


class ProtocolError(ConnectionLost):
    """The server sent what the protocol does not allow; the connection is given up."""


class ClientClosed(RoostError):
    """The client has ended and will not come back.

    Attributes:
        code: the code of the kick or error that ended it; "closed" after `close()`.
        reason: one sentence.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason


def pause_of(error: Exception) -> float:
    """Give the seconds the server wants to be left alone before the request is repeated."""
    after: float = error.facts.get("after", 0) if isinstance(error, RequestError) else 0
    return after / 1000


BY_CODE: dict[str, type[RequestError]] = {
    kind.default_code: kind
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


def from_body(body: dict[str, Any]) -> RequestError:
    """Give the error an `error` body stands for; an unknown code keeps its name in `code`."""
    facts = dict(body)
    code = str(facts.pop("code", "internal"))
    message = str(facts.pop("message", ""))
    retry = bool(facts.pop("retry", False))
    return BY_CODE.get(code, RequestError)(message, code=code, retry=retry, facts=facts)
