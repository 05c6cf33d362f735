"""Pushes that need no state: body -> event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .events import (
    Count,
    Entered,
    Event,
    Goaway,
    Joined,
    Left,
    Other,
    Presence,
    Receipt,
    ServerError,
    State,
)

_TABLE: dict[str, Callable[[dict[str, Any]], Event]] = {
    "joined": lambda body: Joined(body["room"], body["uid"], body["count"]),
    "left": lambda body: Left(body["room"], body["uid"], body["count"]),
    "count": lambda body: Count(body["room"], body["count"]),
    "presence": lambda body: Presence(
        body["uid"], body["online"], body.get("devices") or [], body.get("since")
    ),
    "receipt": lambda body: Receipt(body["mid"], body["uid"], body["device"], body["time"]),
    "state": State,
    "entered": Entered,
    "goaway": lambda body: Goaway(
        body.get("reason", ""), float(body.get("after", 0)), list(body.get("to") or ())
    ),
    "error": lambda body: ServerError(body.get("code", ""), body.get("message", "")),
}


def event_of(op: str, body: dict[str, Any]) -> Event:
    """Give the event a push stands for; `Other` for an op this version does not know."""
    make = _TABLE.get(op)
    return Other(op, body) if make is None else make(body)
