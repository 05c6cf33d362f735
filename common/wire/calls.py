"""What a call between processes looks like.

    request   msgpack [request id, deadline (unix ms), caller, method, [argument, …]]
    reply     msgpack [0, result] or [1, code, message, facts]

Unlike packets of clients, values may be maps with any keys; tuples arrive as lists.

Source: docs/architecture.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgpack import Packer, unpackb

from common.errors import BadPacket, Internal, RequestError, rebuild

OK: Final = 0
ERROR: Final = 1

pack: Final[Callable[[Any], bytes]] = Packer(autoreset=True).pack
"""Raises TypeError, ValueError or OverflowError for what msgpack cannot carry."""


class Request(NamedTuple):
    """One call: who makes it, until when (unix ms) it is worth an answer, and what it asks."""

    id: str
    deadline_ms: int
    caller: str
    method: str
    args: list[Any]


_TYPES: Final = [str, int, str, str, list]


def pack_request(id: str, deadline_ms: int, caller: str, method: str, args: tuple[Any, ...]) -> bytes:
    """Give a request.

    Raises:
        TypeError, ValueError, OverflowError: msgpack cannot carry an argument.
    """
    return pack([id, deadline_ms, caller, method, args])


def unpack_request(blob: bytes) -> Request:
    """Read a request.

    Raises:
        BadPacket: it is none. A map whose key is a tuple can be packed, but not read.
    """
    parts = _unpack(blob, "request")
    if [type(part) for part in parts] != _TYPES:
        raise BadPacket("the request has other fields")
    return Request(*parts)


def pack_result(value: Any) -> bytes:
    """Give a reply with a result.

    Raises:
        TypeError, ValueError, OverflowError: msgpack cannot carry it.
    """
    return pack([OK, value])


def pack_error(error: RequestError) -> bytes:
    """Give a reply with an error; facts that msgpack cannot carry are left out."""
    try:
        return pack([ERROR, error.code, error.message, error.facts])
    except (TypeError, ValueError, OverflowError):
        return pack([ERROR, error.code, "the error had unreadable facts", {}])


def open_reply(blob: bytes) -> Any:
    """Give the result in a reply.

    Raises:
        RequestError: the one in the reply, as the class its code names.
        Internal: it is no reply.
    """
    try:
        kind, *rest = _unpack(blob, "reply")
    except BadPacket as error:
        raise Internal(str(error)) from None
    if kind == OK and len(rest) == 1:
        return rest[0]
    if kind == ERROR and [type(part) for part in rest] == [str, str, dict]:
        raise rebuild(*rest)
    raise Internal("the reply has other fields")


def _unpack(blob: bytes, what: str) -> list[Any]:
    try:
        value = unpackb(blob, strict_map_key=False)
    except (TypeError, ValueError) as error:
        raise BadPacket(f"the {what} cannot be read: {error}") from None
    if type(value) is not list or not value:
        raise BadPacket(f"the {what} is not a list")
    return value
