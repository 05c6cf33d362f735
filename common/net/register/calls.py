"""What others ask of a session process by call: center, for application servers and operators.

    user, stats, tagged               who is here
    tell, deliver                     messages to users who are here
    kick, ban, unban, assign, tags    what is done to their connections

Whoever bans, or sets tags, has stored it before. Users are "product/uid", rooms
"product/map/name"; a user of another session process is nobody here.
"""

from __future__ import annotations

import time
from typing import Any

from common.errors import KICKS, BadField
from common.handlers import Handlers
from common.net.dbclient import Dbservers
from common.net.metrics import Counters
from common.net.pace import in_slices
from common.net.register.banbook import BanBook
from common.net.register.endings import Endings
from common.net.register.post import Post
from common.net.register.reach import Reach
from common.net.register.tagging import Tagging
from common.places import Places
from common.rules.devices import Kick, Login
from common.rules.presence import Presence
from common.rules.tags import check_tags
from common.wire.names import is_room, product_of

CALLS = Handlers("session rpc")
PAGE = 1_000
"""Users in one page, unless asked for fewer or more."""
PAGE_LIMIT = 10_000


class Register:
    """The users of one session process, and all ways to reach them.

    Args:
        own_name: of this process.
        presence: who is where.
        post: the way to gateways.
        dbservers: where bans and tags are.
        bans_every: seconds between two reads of the bans.
        counters: of this process.
    """

    def __init__(
        self,
        own_name: str,
        places: Places,
        presence: Presence,
        post: Post,
        dbservers: Dbservers,
        bans_every: float,
        counters: Counters,
    ) -> None:
        self.places = places
        self.presence = presence
        self.post = post
        self.reach = Reach(presence, post, counters)
        self.tagging = Tagging(presence, post, dbservers)
        self.endings = Endings(presence, dbservers, now_ms())
        self.banbook = BanBook(
            dbservers,
            bans_every,
            lambda user: places.session_of(user) == own_name,
            self.end_banned,
            now_ms,
        )
        self.bans = self.banbook.bans

    def let_in(self, gateway: str, entries: list[list[Any]]) -> list[list[Any]]:
        """Give the announced connections that may stay; those of banned users are kicked."""
        now = now_ms()
        for product in {product_of(user) for _, user, *_ in entries}:
            self.banbook.meet(product)
        rest = [entry for entry in entries if self.bans.until(entry[1], now) is None]
        if len(rest) < len(entries):
            staying = {entry[0] for entry in rest}
            gone = [entry for entry in entries if entry[0] not in staying]
            self.post.kick([Kick(gateway, conn, epoch, "banned") for conn, _, _, _, epoch, *_ in gone])
        return rest

    def end_banned(self, users: list[str]) -> None:
        """End all connections of banned users, and that their logins can be resumed."""
        now = now_ms()
        for user in users:
            self.presence.end_logins(user, now)
            self.kick(self.presence.logins(user), "banned")

    def kick(self, logins: tuple[Login, ...], code: str, reason: str = "") -> int:
        """End the connections of some devices, where a gateway can be told; give how many."""
        kicks = [
            Kick(login.gateway.name, login.conn, login.epoch, code)
            for login in logins
            if login.gateway is not None and self.post.up(login.gateway.name)
        ]
        self.post.kick(kicks, reason)
        return len(kicks)

    def begun(self, gateway: str) -> None:
        """The stream of a gateway began anew."""
        self.post.begun(gateway)
        self.banbook.begun(gateway)
        self.endings.begun(gateway)

    def turn(self, gateway: str) -> None:
        """Each second, while its link is up: send what a gateway was not told."""
        self.post.again(gateway)
        self.reach.turn(gateway)


def now_ms() -> int:
    """Give unix milliseconds."""
    return time.time_ns() // 1_000_000


@CALLS.on("user")
def user(register: Register, user: str) -> dict[str, Any]:
    """Tell of a user.

    Returns:
        online: bool or None (unknown); since: unix ms; devices: [{device, kind, epoch,
        gateway, conn, tags}], gateway None while away.
    """
    view = register.presence.view(user)
    return {
        "online": view.online,
        "since": view.since,
        "devices": [
            {
                "device": login.device,
                "kind": login.kind,
                "epoch": login.epoch,
                "gateway": login.gateway.name if login.gateway is not None else None,
                "conn": login.conn,
                "tags": list(login.tags),
            }
            for login in register.presence.logins(user)
        ],
    }


@CALLS.on("stats")
def stats(register: Register, product: str = "") -> dict[str, int]:
    """Count users online and devices connected; of one product only when it is named."""
    presence = register.presence
    if not product:
        devices = sum(len(gateway.connections) for gateway in presence.gateways)
        return {"users": len(presence.users), "devices": devices}
    prefix, users, devices = f"{product}/", 0, 0
    for name, entry in in_slices(list(presence.users.items())):
        if name.startswith(prefix):
            users += 1
            devices += sum(login.gateway is not None for login in entry.logins)
    return {"users": users, "devices": devices}


@CALLS.on("tagged")
def tagged(
    register: Register, product: str, tags: list[str], after: str = "", limit: int = PAGE
) -> list[str]:
    """Give users online with a device that has all these tags, in order.

    Args:
        after: the last user of the page before, "" for the first page.
        limit: at most so many, and at most 10,000; fewer come only at the end.

    Raises:
        BadField: no list of tags.
    """
    return register.tagging.tagged(product, check_tags(tags), after, min(max(limit, 1), PAGE_LIMIT))


@CALLS.on("tell")
def tell(register: Register, rows: list[list[Any]], mid: int, body: bytes) -> int:
    """Send the live copy of a stored message: [user, seq, number given before] each; give users reached.

    Bears being repeated: gateways drop by number.
    """
    return register.reach.kept(rows, mid, body)


@CALLS.on("deliver")
def deliver(register: Register, users: list[str], mid: int, sender: str, data: bytes, time_ms: int) -> int:
    """Send a message that is not kept; give users reached."""
    return register.reach.live(users, mid, sender, data, time_ms)


@CALLS.on("kick")
def kick(register: Register, user: str, device: str | None, code: str, reason: str) -> int:
    """End the connections of a user, or of one device; give how many are told to leave.

    Raises:
        BadField: no such code.
    """
    if code not in KICKS:
        raise BadField(f"code is one of {', '.join(KICKS)}", field="code")
    logins = register.presence.logins(user)
    chosen = tuple(login for login in logins if device is None or login.device == device)
    return register.kick(chosen, code, reason or "ended by the server")


@CALLS.on("ban")
def ban(register: Register, user: str, until_ms: int) -> int:
    """Keep a user out until then (0: for good), and end its connections; give how many.

    Raises:
        BadField: a time before 1970.
    """
    if until_ms < 0:
        raise BadField("until is unix ms, or 0 for good", field="until")
    register.bans.ban(user, until_ms)
    if register.bans.until(user, now_ms()) is None:
        return 0
    connected = sum(login.gateway is not None for login in register.presence.logins(user))
    register.end_banned([user])
    return connected


@CALLS.on("unban")
def unban(register: Register, user: str) -> None:
    """Let a user in again."""
    register.bans.unban(user)


@CALLS.on("assign")
def assign(register: Register, user: str, room: str, join: bool) -> int:
    """Have all connections of a user join (or leave) a room of its product; give how many are told.

    Raises:
        BadField: no room, or another product's.
        NotFound: no such map.
    """
    product, _, name = room.partition("/")
    if not is_room(name) or product != product_of(user):
        raise BadField("room must be product/map/name, of the user's product", field="room")
    register.places.world_of(room)
    return register.reach.assign(user, room, join)


@CALLS.on("tags")
def tags(register: Register, user: str, device: str, tags: list[str]) -> bool:
    """Give a device other tags; False when it is not here, and will have them at its next login.

    Raises:
        BadField: no list of at most 16 names.
    """
    checked = check_tags(tags)
    for login in register.presence.logins(user):
        if login.device == device:
            register.tagging.set(login, checked)
            return True
    return False
