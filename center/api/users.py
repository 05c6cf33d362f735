"""/v1/users: what is known of a user, and what is done to one. Scopes `read`, `users`, `rooms`."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint, Schema, fields
from marshmallow import ValidationError, validates_schema

from center.api.door import allowed, door, user_of
from center.api.fields import Flag, Name, Names, Number, Room, Text, Whole
from common.errors import BadField, NotFound
from common.wire.names import room_key
from common.wire.tokens import TAGS_LIMIT
from common.wire.values import INTEGER_LIMIT

users = APIBlueprint("users", __name__)
REASON = 200
YEARS = 100 * 365 * 86_400


class Device(Schema):
    """A device of a user, as presence and storage know it."""

    device = fields.String(required=True)
    kind = fields.String(allow_none=True, metadata={"description": "null while it is away"})
    gateway = fields.String(allow_none=True, metadata={"description": "null while it is away"})
    seq = fields.Integer(
        allow_none=True, metadata={"description": "acknowledged up to here; null: never here"}
    )
    bseq = fields.Integer(allow_none=True, metadata={"description": "broadcasts acknowledged up to here"})
    seen = fields.Integer(allow_none=True, metadata={"description": "unix ms"})
    tags = fields.List(fields.String())


class Mailbox(Schema):
    """What is kept for a user."""

    depth = fields.Integer(required=True, metadata={"description": "messages"})
    bytes = fields.Integer(required=True)
    dropped = fields.Integer(required=True, metadata={"description": "dropped unread, of all ever kept"})
    seq = fields.Integer(required=True, metadata={"description": "highest seq given"})


class User(Schema):
    """A user."""

    uid = fields.String(required=True)
    online = fields.Boolean(required=True, allow_none=True, metadata={"description": "null: unknown now"})
    since = fields.Integer(
        required=True, allow_none=True, metadata={"description": "unix ms; null: not online"}
    )
    devices = fields.List(fields.Nested(Device), required=True)
    mailbox = fields.Nested(Mailbox, required=True)
    online_seconds = fields.Float(
        required=True, metadata={"description": "all time online, until last counted"}
    )
    seen = fields.Integer(required=True, allow_none=True, metadata={"description": "unix ms; null: never"})
    sequence = fields.Integer(
        required=True, allow_none=True, metadata={"description": "the how-manieth user; null: not stored yet"}
    )
    banned = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "until unix ms, 0: for good; null: not banned"},
    )


class Tags(Schema):
    """Tags of a user's device, or of all of them."""

    tags = Names(0, TAGS_LIMIT, required=True)
    device = Name(load_default=None, metadata={"description": "all devices unless given"})


class Kick(Schema):
    """Why connections end."""

    device = Name(load_default=None, metadata={"description": "all devices unless given"})
    reason = Text(REASON, load_default="kicked by the application")
    reconnect = Flag(load_default=False, metadata={"description": "may the client come back?"})


class Ban(Schema):
    """How long a user stays out: for good unless one of the two is given."""

    seconds = Number(YEARS, load_default=None)
    until = Whole(1, INTEGER_LIMIT, load_default=None, metadata={"description": "unix ms"})

    @validates_schema
    def _not_both(self, given: dict[str, Any], **_: Any) -> None:
        if given.get("seconds") is not None and given.get("until") is not None:
            raise ValidationError("give seconds or until, not both", "until")


class Membership(Schema):
    """A room to join or to leave."""

    room = Room(required=True, metadata={"description": "map/name"})


class Connections(Schema):
    """How many connections were told."""

    connections = fields.Integer(required=True)


class Banned(Schema):
    """Until when a user is banned."""

    banned = fields.Integer(
        required=True, allow_none=True, metadata={"description": "unix ms, 0: for good; null: not"}
    )


@users.get("/v1/users/<uid>")
@allowed("read")
@users.output(User)
def look(uid: str) -> dict[str, Any]:
    """Tell of a user: presence, devices, mailbox, time online."""
    return _about(user_of(uid), uid)


@users.put("/v1/users/<uid>")
@allowed("users")
@users.output(User)
def make(uid: str) -> dict[str, Any]:
    """Make a user without a login, so that messages can be kept; one there is stays as it is."""
    user = user_of(uid)
    with door().noting("user", to=[uid]):
        door().store("user_add", user)
    return _about(user, uid)


@users.put("/v1/users/<uid>/tags")
@allowed("users")
@users.input(Tags, arg_name="given")
@users.output(Connections)
def tag(uid: str, given: dict[str, Any]) -> dict[str, Any]:
    """Set the tags of a device, or of all there are; they stand for those of its token from now on."""
    user, device, names = user_of(uid), given["device"], given["tags"]
    about = _about(user, uid)
    devices = [row["device"] for row in about["devices"] if device in (None, row["device"])]
    if device is not None and not devices:
        raise NotFound("the user has no such device", uid=uid, device=device)
    with door().noting("tags", to=[uid], device=device, tags=names):
        if devices:
            door().store("device_mark", [[user, name, names, None] for name in devices])
        told = [door().session(user, "tags", name, names) for name in devices]
    return {"connections": sum(told)}


@users.post("/v1/users/<uid>/kick")
@allowed("users")
@users.input(Kick, arg_name="given")
@users.output(Connections)
def kick(uid: str, given: dict[str, Any]) -> dict[str, Any]:
    """End the connections of a user, or of one device."""
    user, device = user_of(uid), given["device"]
    code = "restart" if given["reconnect"] else "policy"
    with door().noting("kick", to=[uid], device=device, code=code) as entry:
        ended = entry["count"] = door().session(user, "kick", device, code, given["reason"])
    return {"connections": ended}


@users.post("/v1/users/<uid>/ban")
@allowed("users")
@users.input(Ban, arg_name="given")
@users.output(Banned)
def ban(uid: str, given: dict[str, Any]) -> dict[str, Any]:
    """Keep a user out, and end all connections (`kick banned`); resume tokens are worth nothing then."""
    user, now, until = user_of(uid), door().now_ms(), given["until"] or 0
    if given["seconds"] is not None:
        until = now + max(int(given["seconds"] * 1000), 1)
    if until and until <= now:
        raise BadField("until is over; it is unix ms", field="until")
    with door().noting("ban", to=[uid], until=until):
        door().store("ban", user, until)
        door().session(user, "ban", until)
    return {"banned": until}


@users.post("/v1/users/<uid>/unban")
@allowed("users")
@users.output(Banned)
def unban(uid: str) -> dict[str, Any]:
    """Let a user in again."""
    user = user_of(uid)
    with door().noting("unban", to=[uid]):
        door().store("unban", user)
        door().session(user, "unban")
    return {"banned": None}


@users.post("/v1/users/<uid>/join")
@allowed("rooms")
@users.input(Membership, arg_name="given")
@users.output(Connections)
def join(uid: str, given: dict[str, Any]) -> dict[str, Any]:
    """Have the user's connections join a room; each hears `subscribed`."""
    return _assign(uid, given["room"], True)


@users.post("/v1/users/<uid>/leave")
@allowed("rooms")
@users.input(Membership, arg_name="given")
@users.output(Connections)
def leave(uid: str, given: dict[str, Any]) -> dict[str, Any]:
    """Have the user's connections leave a room; each hears `unsubscribed`."""
    return _assign(uid, given["room"], False)


def _assign(uid: str, room: str, joins: bool) -> dict[str, Any]:
    user = user_of(uid)
    name = room_key(user.partition("/")[0], room)
    door().places.world_of(name)
    with door().noting("join" if joins else "leave", to=[uid], room=room) as entry:
        told = entry["count"] = door().session(user, "assign", name, joins)
    return {"connections": told}


def _about(user: str, uid: str) -> dict[str, Any]:
    """Put together what storage and presence know. A user who came just now is not stored yet.

    Raises:
        NotFound: neither knows the user.
    """
    stored, present = door().store("user_info", user), door().session(user, "user")
    is_known = stored["sequence"] is not None or stored["banned"] is not None
    if not is_known and not present["devices"]:
        raise NotFound("no such user", uid=uid)
    return {
        "uid": uid,
        "online": present["online"],
        "since": present["since"] or None,
        "devices": _devices(stored["devices"], present["devices"]),
        "mailbox": {name: stored[name] for name in ("depth", "bytes", "dropped", "seq")},
        "online_seconds": stored["online"],
        "seen": stored["seen"] or None,
        "sequence": stored["sequence"],
        "banned": stored["banned"],
    }


def _devices(stored: dict[str, dict[str, Any]], present: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a row for each device storage or presence knows, by name."""
    logins = {login["device"]: login for login in present}
    rows = []
    for name in sorted({*stored, *logins}):
        kept, login = stored.get(name, {}), logins.get(name, {})
        rows.append(
            {
                "device": name,
                "kind": login.get("kind"),
                "gateway": login.get("gateway"),
                "seq": kept.get("acked"),
                "bseq": kept.get("backed"),
                "seen": kept.get("seen"),
                "tags": login.get("tags", kept.get("tags")) or [],
            }
        )
    return rows
