"""/v1/push: messages to users, to all of a product, into a room. Scope `push`."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint, Schema, fields
from marshmallow import ValidationError, validates_schema

from center.api.door import allowed, caller, door, idempotency_key
from center.api.fields import RECEIVERS, Data, Flag, Name, Names, Number, Room, Whole, tags
from center.audit import whom
from center.sending import Push
from common.errors import BadField

push = APIBlueprint("push", __name__)
LONGEST = 10 * 365 * 86_400
"""Seconds any `ttl` is below; `mailbox.ttl` bounds it first."""


class Message(Schema):
    """What every push has."""

    data = Data(required=True)
    keep = Flag(load_default=False, metadata={"description": "store it until each device has it"})
    ttl = Number(LONGEST, load_default=None, metadata={"description": "seconds it is kept; with keep"})
    key = Name(load_default=None, metadata={"description": "the same again is the same message; with keep"})
    receipt = Flag(load_default=False, metadata={"description": "devices tell when they have it; with keep"})


class Unicast(Message):
    """A message to a user."""

    to = Name(required=True, metadata={"description": "uid"})


class Multicast(Message):
    """A message to users: named, or all online with these tags."""

    to = Names(1, RECEIVERS, metadata={"description": "uids; either this or tags"})
    tags = tags(metadata={"description": "all users online that have all of these"})

    @validates_schema
    def _one_of_two(self, given: dict[str, Any], **_: Any) -> None:
        if ("to" in given) == ("tags" in given):
            raise ValidationError("give to or tags, one of the two", "to")


class Broadcast(Message):
    """A message to every connection of the product."""

    rate = Whole(1, 1_000_000, load_default=None, metadata={"description": "connections a second"})
    tags = tags(
        load_default=None, metadata={"description": "only connections with all of these; not with keep"}
    )

    @validates_schema
    def _tags_are_live(self, given: dict[str, Any], **_: Any) -> None:
        if given.get("keep") and given.get("tags"):
            raise ValidationError("a kept broadcast is for everybody; leave tags out", "tags")


class Publish(Schema):
    """A message into a room."""

    room = Room(required=True, metadata={"description": "map/name"})
    data = Data(required=True)
    key = Name(load_default=None, metadata={"description": "the same again is the same message"})


class Sent(Schema):
    """A message that was sent."""

    mid = fields.Integer(required=True, metadata={"description": "its id"})
    online = fields.Integer(
        required=True, metadata={"description": "users reached now; broadcast: connections"}
    )


class Published(Schema):
    """Where a room's message stands."""

    epoch = fields.Integer(required=True)
    offset = fields.Integer(required=True)


@push.post("/v1/push/unicast")
@allowed("push")
@push.input(Unicast, arg_name="given")
@push.output(Sent)
def unicast(given: dict[str, Any]) -> dict[str, Any]:
    """Send to a user."""
    return _to_users("unicast", given, [given["to"]])


@push.post("/v1/push/multicast")
@allowed("push")
@push.input(Multicast, arg_name="given")
@push.output(Sent)
def multicast(given: dict[str, Any]) -> dict[str, Any]:
    """Send to up to 10,000 users, or to those online with tags; where nobody has them `online` is 0."""
    if "to" in given:
        return _to_users("multicast", given, given["to"])
    message = _message(given)
    uids = door().sending.tagged(caller().product, given["tags"])
    return _send("multicast", message, uids, tags=given["tags"])


@push.post("/v1/push/broadcast")
@allowed("push")
@push.input(Broadcast, arg_name="given")
@push.output(Sent)
def broadcast(given: dict[str, Any]) -> dict[str, Any]:
    """Send to every connection of the product, or to those with tags."""
    message = _message(given)
    with door().noting("broadcast", keep=message.keep, tags=given["tags"] or []) as entry:
        sent = door().sending.broadcast(message, given["rate"], given["tags"])
        entry.update(sent._asdict())
    return sent._asdict()


@push.post("/v1/push/room")
@allowed("push")
@push.input(Publish, arg_name="given")
@push.output(Published)
def room(given: dict[str, Any]) -> dict[str, Any]:
    """Publish into a room as the server (uid "")."""
    _check_size(given["data"])
    product, name, key = caller().product, given["room"], idempotency_key(given)
    with door().noting("room", room=name) as entry:
        epoch, offset = door().sending.room(product, name, key, given["data"])
        entry.update(epoch=epoch, offset=offset)
    return {"epoch": epoch, "offset": offset}


def _to_users(kind: str, given: dict[str, Any], uids: list[str]) -> dict[str, Any]:
    return _send(kind, _message(given), uids)


def _send(kind: str, message: Push, uids: list[str], **facts: Any) -> dict[str, Any]:
    with door().noting(kind, keep=message.keep, **whom(uids), **facts) as entry:
        sent = door().sending.users(message, uids)
        entry.update(sent._asdict())
    return sent._asdict()


def _message(given: dict[str, Any]) -> Push:
    """Give what is to be sent.

    Raises:
        BadField: `data` is too large, `ttl` without `keep`, or the key is wrong.
    """
    _check_size(given["data"])
    for name in ("ttl", "receipt"):
        if given[name] and not given["keep"]:
            raise BadField(f"{name} is for what is kept; set keep, or leave it out", field=name)
    key = idempotency_key(given)
    return Push(caller().product, given["data"], given["keep"], given["ttl"], key, given["receipt"])


def _check_size(data: bytes) -> None:
    limit = door().settings.gateway.packet_bytes
    if len(data) > limit:
        raise BadField(f"data takes {len(data)} bytes packed, at most {limit}", field="data", limit=limit)
