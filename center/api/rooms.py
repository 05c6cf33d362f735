"""/v1/rooms: the rooms there are, and what stands in one. Scope `read`."""

from __future__ import annotations

from typing import Any

import msgpack
from apiflask import APIBlueprint, Schema, fields

from center.api.door import allowed, caller, door
from center.api.fields import Room, Whole
from common.errors import BadField
from common.rules.room import REPLY_MESSAGES
from common.wire.jsondata import to_json
from common.wire.names import is_room, room_key, room_of
from common.wire.values import INTEGER_LIMIT

rooms = APIBlueprint("rooms", __name__)
PAGE = 100
LARGEST = 1_000
SHOWN = 50
"""Messages of a room unless more are asked for."""


class Paging(Schema):
    """Which page."""

    after = Room(load_default=None, metadata={"description": "the room the page follows"})
    limit = Whole(1, LARGEST, load_default=PAGE)


class Listed(Schema):
    """A room in a list."""

    room = fields.String(required=True, metadata={"description": "map/name"})
    count = fields.Integer(required=True, metadata={"description": "connections in it"})
    offset = fields.Integer(required=True, metadata={"description": "of its newest message"})


class Listing(Schema):
    """A page of rooms, by name."""

    rooms = fields.List(fields.Nested(Listed), required=True)
    after = fields.String(
        required=True, allow_none=True, metadata={"description": "ask on from here; null: the end"}
    )


class Said(Schema):
    """A message of a room."""

    offset = fields.Integer(required=True)
    uid = fields.String(required=True, metadata={"description": '"" = the server'})
    data = fields.Raw(required=True, allow_none=True)
    time = fields.Integer(required=True, metadata={"description": "unix ms"})


class MemberDevice(Schema):
    """A device of a member."""

    device = fields.String(required=True)
    kind = fields.String(required=True)


class Member(Schema):
    """A user in a room."""

    uid = fields.String(required=True)
    devices = fields.List(fields.Nested(MemberDevice), required=True)
    since = fields.Integer(required=True, metadata={"description": "unix ms"})


class Span(Schema):
    """Which messages of a room."""

    after = Whole(
        0,
        INTEGER_LIMIT,
        load_default=None,
        metadata={
            "description": "those that follow this offset, or the oldest kept; the newest unless given"
        },
    )
    limit = Whole(0, REPLY_MESSAGES, load_default=SHOWN)


class RoomState(Schema):
    """A room."""

    room = fields.String(required=True)
    epoch = fields.Integer(required=True)
    offset = fields.Integer(required=True)
    count = fields.Integer(required=True, metadata={"description": "connections in it"})
    users = fields.List(fields.Nested(Member), required=True, metadata={"description": "[] in a large room"})
    first = fields.Integer(required=True, metadata={"description": "the oldest offset kept"})
    messages = fields.List(fields.Nested(Said), required=True, metadata={"description": "ascending"})
    more = fields.Boolean(
        required=True, metadata={"description": "others follow: ask on after the last offset"}
    )


@rooms.get("/v1/rooms")
@allowed("read")
@rooms.input(Paging, location="query", arg_name="given")
@rooms.output(Listing)
def listing(given: dict[str, Any]) -> dict[str, Any]:
    """List the rooms in memory, by name."""
    product, limit = caller().product, given["limit"]
    after = room_key(product, given["after"]) if given["after"] else ""
    answers = door().each(door().places.worlds, "rooms", product, after, limit)
    rows = sorted(row for answer in answers.values() for row in answer)
    found = [{"room": room_of(row[0]), "count": row[1], "offset": row[2]} for row in rows[:limit]]
    is_whole = len(rows) <= limit and all(len(answer) < limit for answer in answers.values())
    return {"rooms": found, "after": None if is_whole else found[-1]["room"]}


@rooms.get("/v1/rooms/<map>/<name>")
@allowed("read")
@rooms.input(Span, location="query", arg_name="given")
@rooms.output(RoomState)
def look(map: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Tell of a room: where it stands, who is in it, what was said last or after an offset."""
    room = f"{map}/{name}"
    if not is_room(room):
        raise BadField("room must be map/name", field="room")
    told = door().world(room_key(caller().product, room), "room", given["limit"], given["after"])
    users, messages = [_member(row) for row in told["users"]], [_said(row) for row in told["messages"]]
    return {**told, "room": room, "users": users, "messages": messages}


def _member(row: list[Any]) -> dict[str, Any]:
    uid, devices, since = row
    return {"uid": uid, "devices": [{"device": name, "kind": kind} for name, kind in devices], "since": since}


def _said(row: list[Any]) -> dict[str, Any]:
    offset, uid, data, time_ms = row
    return {"offset": offset, "uid": uid, "data": to_json(msgpack.unpackb(data)), "time": time_ms}
