"""What a client may ask, with which fields, and what the server says: the tables.

    CLIENT   op -> fields, and the fields of its `ok`
    SERVER   op -> fields; "?" marks one that is not always there

Source: docs/protocol.md, sections 4 and 5; a test compares them with these tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.errors import BadField, UnknownOp
from common.wire.fields import Field, check_fields
from common.wire.values import INTEGER_LIMIT

VERSION = 1
TOKEN_BYTES = 4096
METHOD_BYTES = 64
USERS_LIMIT = 100
"""Users one request may name."""
HISTORY_LIMIT = 300
"""Messages of one history reply."""
INBOX_LIMIT = 100
"""Messages of one inbox reply."""
TTL_SECONDS = 30 * 24 * 3600
"""Longest, and usual, life of a kept message."""


@dataclass(frozen=True, slots=True)
class Op:
    """One row of the table.

    Args:
        fields: in the order of the page.
        reply: names of the fields of `ok`; () empty; None: no `ok` follows.
        one_of: fields of which at most one may be there.
        one_needed: one of them must be.
    """

    fields: tuple[Field, ...] = ()
    reply: tuple[str, ...] | None = ()
    one_of: tuple[str, ...] = ()
    one_needed: bool = False


def _optional(name: str, kind: str, default: Any = None, low: int = 0, high: int = 0) -> Field:
    return Field(name, kind, required=False, default=default, low=low, high=high)


_ROOM = Field("room", "room")
_SINCE = _optional("since", "since")
_KEY = _optional("key", "name")

CLIENT: dict[str, Op] = {
    "hello": Op(
        (
            Field("v", "int", low=VERSION, high=VERSION),
            _optional("token", "text", low=1, high=TOKEN_BYTES),
            _optional("resume", "text", low=1, high=TOKEN_BYTES),
            Field("device", "name"),
            _optional("kind", "name", default=""),
            _optional("client", "client"),
            _optional("ticket", "text", low=1, high=TOKEN_BYTES),
        ),
        (
            "v",
            "uid",
            "product",
            "device",
            "session",
            "gateway",
            "ping",
            "resume",
            "exp",
            "retry",
            "inbox",
            "time",
        ),
        one_of=("token", "resume"),
        one_needed=True,
    ),
    "refresh": Op((Field("token", "text", low=1, high=TOKEN_BYTES),), ("exp", "resume")),
    "ping": Op(reply=None),
    "join": Op(
        (_ROOM, _SINCE, _optional("presence", "bool", default=False)),
        ("room", "epoch", "offset", "recovered", "messages", "more", "count"),
    ),
    "leave": Op((_ROOM,)),
    "publish": Op((_ROOM, Field("data", "data"), _KEY), ("epoch", "offset")),
    "history": Op(
        (_ROOM, _SINCE, _optional("limit", "int", default=HISTORY_LIMIT, low=1, high=HISTORY_LIMIT)),
        ("epoch", "offset", "first", "recovered", "messages", "more"),
    ),
    "presence": Op(
        (_optional("room", "room"), _optional("users", "uids", high=USERS_LIMIT)),
        ("count", "users", "unknown"),
        one_of=("room", "users"),
        one_needed=True,
    ),
    "watch": Op(
        (Field("users", "uids", high=USERS_LIMIT), _optional("off", "bool", default=False)),
        ("users",),
    ),
    "profile": Op(
        (_optional("set", "profile"), _optional("users", "uids", high=USERS_LIMIT)),
        ("users",),
        one_of=("set", "users"),
    ),
    "send": Op(
        (
            Field("to", "receivers", low=1, high=USERS_LIMIT),
            Field("data", "data"),
            _optional("keep", "bool", default=False),
            _optional("ttl", "int", default=TTL_SECONDS, low=1, high=TTL_SECONDS),
            _KEY,
            _optional("receipt", "bool", default=False),
        ),
        ("mid", "online"),
    ),
    "ack": Op((_optional("seq", "int", high=INTEGER_LIMIT), _optional("bseq", "int", high=INTEGER_LIMIT))),
    "inbox": Op(
        (
            Field("after", "int", high=INTEGER_LIMIT),
            _optional("bafter", "int", high=INTEGER_LIMIT),
            _optional("limit", "int", default=INBOX_LIMIT, low=1, high=INBOX_LIMIT),
        ),
        ("messages", "gap", "more", "seq", "bseq"),
    ),
    "enter": Op(
        (Field("map", "name"), _optional("data", "data"), _optional("line", "name")),
        ("map", "line", "tick", "you"),
    ),
    "input": Op((Field("n", "int", high=INTEGER_LIMIT), Field("data", "data")), reply=None),
    "exit": Op(),
    "call": Op(
        (
            _optional("room", "room"),
            _optional("map", "name"),
            Field("method", "text", low=1, high=METHOD_BYTES),
            _optional("args", "data"),
        ),
        ("result",),
        one_of=("room", "map"),
        one_needed=True,
    ),
    "bye": Op(reply=None),
}

SERVER: dict[str, tuple[str, ...]] = {
    "ok": (),
    "error": ("code", "message", "retry"),
    "pong": (),
    "message": ("room", "offset", "uid", "data", "time"),
    "gap": ("room", "epoch", "offset", "reason"),
    "subscribed": ("room", "epoch", "offset", "count"),
    "unsubscribed": ("room", "reason"),
    "inbox": ("seq?", "bseq?", "mid", "uid", "data", "time", "gap?"),
    "receipt": ("mid", "uid", "device", "time"),
    "joined": ("room", "uid", "count"),
    "left": ("room", "uid", "count"),
    "count": ("room", "count"),
    "presence": ("uid", "online", "devices", "since"),
    "state": ("map", "tick", "cell?", "full?", "enter?", "move?", "leave?", "events?", "ack?"),
    "entered": ("map", "line?", "tick?", "you?", "away?"),
    "goaway": ("reason", "after", "to?"),
    "kick": ("code", "reason", "reconnect"),
}

GAP_REASONS = ("slow", "lost", "epoch")


def check(op: str, body: dict[str, Any]) -> dict[str, Any]:
    """Give all fields of the op, checked, with defaults for those left out.

    Args:
        body: as decoded; not changed. Fields the op does not have are ignored.

    Raises:
        UnknownOp: no such op.
        BadField: with the first field that is missing, wrong or one too many.
    """
    check_body = _CHECKS.get(op)
    if check_body is None:
        raise UnknownOp("no such op")
    return check_body(body)


def _compile(op: Op) -> Callable[[dict[str, Any]], dict[str, Any]]:
    check_all = check_fields(op.fields)
    if not op.one_of:
        return check_all

    def check_choice(body: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in op.one_of if name in body]
        if len(given) > 1:
            raise BadField(f"only one of {' and '.join(given)} may be there", field=given[1])
        if op.one_needed and not given:
            raise BadField(f"{' or '.join(op.one_of)} is missing", field=op.one_of[0])
        return check_all(body)

    return check_choice


_CHECKS = {name: _compile(op) for name, op in CLIENT.items()}
