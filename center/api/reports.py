"""/v1/stats and /v1/messages: how much there is, and what became of a message. Scope `read`."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint, Schema, fields

from center.api.door import allowed, caller, door, user_of
from center.api.fields import Name, Whole
from common.errors import NotFound
from common.wire.values import INTEGER_LIMIT

reports = APIBlueprint("reports", __name__)
LARGEST = 200
"""Receivers in a page; the saver gives no more."""


class Stats(Schema):
    """How much there is of the product now."""

    users = fields.Integer(required=True, metadata={"description": "online"})
    devices = fields.Integer(required=True, metadata={"description": "connected"})


class Page(Schema):
    """Which receivers."""

    uid = Name(load_default=None, metadata={"description": "that receiver alone"})
    after = Name(load_default=None, metadata={"description": "the receiver the page follows"})
    limit = Whole(1, LARGEST, load_default=100)


class OnDevice(Schema):
    """What became of a message on a device."""

    device = fields.String(required=True)
    state = fields.String(
        required=True, metadata={"description": "stored, written, acked, expired or dropped"}
    )
    why = fields.String(required=True, metadata={"description": 'dropped: trimmed, away or unacked; else ""'})


class Receiver(Schema):
    """What became of a message at a receiver."""

    uid = fields.String(required=True)
    seq = fields.Integer(required=True)
    state = fields.String(
        required=True, metadata={"description": "while there are no devices; else the devices tell"}
    )
    devices = fields.List(fields.Nested(OnDevice), required=True)


class Ledger(Schema):
    """What became of a kept message."""

    mid = fields.Integer(required=True)
    sender = fields.String(required=True, metadata={"description": 'uid; "" = an application server'})
    time = fields.Integer(required=True, metadata={"description": "unix ms"})
    expires = fields.Integer(required=True, metadata={"description": "unix ms"})
    bseq = fields.Integer(allow_none=True, metadata={"description": "of a broadcast; else null"})
    acked = fields.Integer(allow_none=True, metadata={"description": "devices, of a broadcast; else null"})
    written = fields.Integer(
        allow_none=True, metadata={"description": "connections, of a broadcast; else null"}
    )
    receivers = fields.List(fields.Nested(Receiver), required=True)
    after = fields.String(
        required=True, allow_none=True, metadata={"description": "ask on from here; null: the end"}
    )


@reports.get("/v1/stats")
@allowed("read")
@reports.output(Stats)
def stats() -> dict[str, Any]:
    """Count users and devices."""
    answers = door().each(door().places.sessions, "stats", caller().product)
    return {name: sum(answer[name] for answer in answers.values()) for name in ("users", "devices")}


@reports.get("/v1/messages/<int:mid>")
@allowed("read")
@reports.input(Page, location="query", arg_name="given")
@reports.output(Ledger)
def message(mid: int, given: dict[str, Any]) -> dict[str, Any]:
    """Tell what became of a kept message, by receiver; of a broadcast counts, and `uid`'s devices."""
    if mid > INTEGER_LIMIT:
        raise NotFound("no such message, or it is no longer known", mid=mid)
    user = user_of(given["uid"]) if given["uid"] else None
    asked = (caller().product, mid, given["after"], given["limit"], user)
    head, rows, after = door().store("ledger", *asked)
    is_broadcast = bool(head["bseq"])
    counts = {name: head[name] if is_broadcast else None for name in ("bseq", "acked", "written")}
    return {
        "mid": mid,
        "sender": head["sender"],
        "time": head["time"],
        "expires": head["expires"],
        **counts,
        "receivers": [_receiver(row) for row in rows],
        "after": after,
    }


def _receiver(row: list[Any]) -> dict[str, Any]:
    uid, seq, state, devices = row
    shown = [{"device": name, "state": its, "why": why} for name, its, why in devices]
    return {"uid": uid, "seq": seq, "state": state, "devices": shown}
