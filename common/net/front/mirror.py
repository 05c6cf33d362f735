"""The gateway's mirror of rooms: who of its own connections is in which, and fan-out.

A room's messages arrive once, in the stream of its world, and are encoded once.
What has come for a room by the end of a turn is joined and written to each member
with one call; the walk yields every few ms. A member is put in exactly where the
answer to its join stands in the stream: what came before was written without it.

How many members a room has here is told to its world as an absolute number, always
the newest, at most every few ms: what waits to be told is a set of rooms.

Source: docs/architecture.md, the path of a message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gevent import sleep
from gevent.event import Event

from common.net.links import Links
from common.net.metrics import Counters
from common.rules.room import MASK, weight
from common.wire.batch import pack_item
from common.wire.codec import encode, message_frame
from common.wire.names import room_of

if TYPE_CHECKING:
    from common.net.front.connection import Connection

TELL_SECONDS = 0.005
"""How long changes of counts gather."""
CHUNK = 128
"""Members written to between two looks at the clock."""
ANNOUNCED_ROOMS = 500
"""Rooms in one announce item."""


class MirrorRoom:
    """One room as this gateway knows it.

    Attributes:
        members: connection -> whether it listens to presence.
        joining: joins without an answer yet; they count as members towards the world.
        epoch, offset: what was forwarded last; epoch 0: nothing known yet.
        told: the (count, listening) the world has heard.
        named: the world wants the members by name.
    """

    __slots__ = (
        "changed",
        "epoch",
        "frames",
        "joining",
        "key",
        "listening",
        "members",
        "name",
        "named",
        "offset",
        "told",
        "world",
    )

    def __init__(self, key: str, world: str) -> None:
        self.key = key
        self.name = room_of(key)
        self.world = world
        self.members: dict[Connection, bool] = {}
        self.joining = 0
        self.listening = 0
        self.epoch = 0
        self.offset = 0
        self.frames: list[bytes] = []
        self.told = (0, 0)
        self.named = False
        self.changed = False

    @property
    def count(self) -> int:
        """Members, and those whose join is under way."""
        return len(self.members) + self.joining

    def caught_up(self, connection: Connection, offset: int) -> None:
        """A member that was too slow reads again: tell it what it did not get."""
        if connection in self.members:
            body = {"room": self.name, "epoch": self.epoch, "offset": offset, "reason": "slow"}
            connection.send(encode("gap", 0, body))


class Mirror:
    """All rooms with members here.

    Args:
        links: the way to worlds.
        slice_seconds: fan-out yields after this.
        counters: `deliveries`, `gaps`.
    """

    def __init__(self, links: Links, slice_seconds: float, counters: Counters) -> None:
        self._links = links
        self._slice = slice_seconds
        self._counters = counters
        self.rooms: dict[str, MirrorRoom] = {}
        self.digests: dict[str, int] = {}
        self._dirty: dict[str, set[MirrorRoom]] = {}
        self._tell = Event()
        self._fresh: dict[str, dict[MirrorRoom, None]] = {}

    def room(self, key: str, world: str) -> MirrorRoom:
        """Give a room; made where there was none."""
        room = self.rooms.get(key)
        if room is None:
            room = self.rooms[key] = MirrorRoom(key, world)
        return room

    # what the world says

    def message(self, key: str, offset: int, uid: str, data: bytes, time_ms: int) -> None:
        """Take a message of the stream; written to members by `turn`."""
        room = self.rooms.get(key)
        if room is None:
            return
        if offset != room.offset + 1:
            if offset <= room.offset:
                return
            if room.offset or room.epoch:
                self._flush(room)
                self._gap(room, offset - 1, "lost")
        room.offset = offset
        room.frames.append(message_frame(room.name, offset, uid, data, time_ms))
        self._fresh.setdefault(room.world, {})[room] = None

    def sync(self, key: str, epoch: int, offset: int) -> None:
        """Take where a room stands; members that miss something get `gap`."""
        room = self.rooms.get(key)
        if room is None or (room.epoch, room.offset) == (epoch, offset):
            return
        self._flush(room)
        known, same = room.epoch, room.epoch == epoch
        room.epoch = epoch
        if known:
            self._gap(room, offset, "lost" if same else "epoch")
        room.offset = offset

    def event(self, key: str, kind: str, uid: str, count: int) -> None:
        """Write a change of presence to the members that listen."""
        room = self.rooms.get(key)
        if room is None:
            return
        self._flush(room)
        body = {"room": room.name, "count": count}
        if uid:
            body["uid"] = uid
        frame = encode(kind, 0, body)
        for connection, listens in list(room.members.items()):
            if listens:
                connection.push(frame, room, 0)

    def turn(self, world: str) -> None:
        """Write what has come for each room of a world; yields while it does."""
        fresh = self._fresh.get(world)
        while fresh:
            room = next(iter(fresh))
            del fresh[room]
            self._flush(room)

    def _flush(self, room: MirrorRoom) -> None:
        if not room.frames:
            return
        frames, room.frames = room.frames, []
        self._counters.deliveries += len(frames) * len(room.members)
        self._write(room, frames[0] if len(frames) == 1 else b"".join(frames))

    def _write(self, room: MirrorRoom, blob: bytes) -> None:
        """Write to every member; whoever leaves during a yield is left out."""
        members, offset = list(room.members), room.offset
        room.changed = False
        yield_at = time.monotonic() + self._slice
        for start in range(0, len(members), CHUNK):
            for connection in members[start : start + CHUNK]:
                connection.push(blob, room, offset)
            if time.monotonic() > yield_at:
                sleep(0)
                yield_at = time.monotonic() + self._slice
                if room.changed:
                    self._write_rest(room, members[start + CHUNK :], blob, offset)
                    return

    def _write_rest(self, room: MirrorRoom, members: list[Connection], blob: bytes, offset: int) -> None:
        """The same for the rest of a room some have left meanwhile."""
        yield_at = time.monotonic() + self._slice
        for connection in members:
            if connection in room.members:
                connection.push(blob, room, offset)
            if time.monotonic() > yield_at:
                sleep(0)
                yield_at = time.monotonic() + self._slice

    def _gap(self, room: MirrorRoom, offset: int, reason: str) -> None:
        self._counters.gaps += len(room.members)
        body = {"room": room.name, "epoch": room.epoch, "offset": offset, "reason": reason}
        frame = encode("gap", 0, body)
        for connection in list(room.members):
            connection.covered(room)
            connection.send(frame)

    # what the clients do

    def enter(self, room: MirrorRoom, connection: Connection, listens: bool, epoch: int, offset: int) -> None:
        """Put a member in, at the place of its join's answer in the stream."""
        if not room.members and not room.frames:
            room.epoch, room.offset = epoch, offset
        elif (room.epoch, room.offset) != (epoch, offset):
            self.sync(room.key, epoch, offset)
        self._flush(room)
        before = room.members.get(connection)
        connection.covered(room)
        room.members[connection] = listens
        room.listening += listens - bool(before)
        if before is None:
            connection.rooms = (*connection.rooms, room)
        self.mark(room)

    def leave(self, room: MirrorRoom, connection: Connection) -> None:
        """Take a member out; nothing happens when it is none."""
        listens = room.members.pop(connection, None)
        if listens is None:
            return
        connection.covered(room)
        room.changed = True
        room.listening -= listens
        connection.rooms = tuple(other for other in connection.rooms if other is not room)
        self.mark(room)

    # what the world is told

    def mark(self, room: MirrorRoom) -> None:
        """Note that a room's counts are to be told."""
        self._dirty.setdefault(room.world, set()).add(room)
        self._tell.set()

    def told(self, room: MirrorRoom, counts: tuple[int, int]) -> None:
        """Note what the world hears about a room, in the digest too."""
        change = weight(room.key, *counts) - weight(room.key, *room.told)
        self.digests[room.world] = (self.digests.get(room.world, 0) + change) & MASK
        room.told = counts

    def run(self) -> None:
        """Tell worlds of changed counts, for ever."""
        while True:
            self._tell.wait()
            sleep(TELL_SECONDS)
            self._tell.clear()
            for world in list(self._dirty):
                self.tell(world)

    def tell(self, world: str) -> None:
        """Tell a world of all rooms whose counts changed, as far as its queue has space.

        One that is down will hear all at once (`announce`).
        """
        dirty = self._dirty.get(world)
        while dirty:
            room = dirty.pop()
            counts = (room.count, room.listening)
            seats = [_seat(connection) for connection in room.members] if room.named else None
            if counts != room.told or seats is not None:
                if self._links.send(world, pack_item(["count", room.key, *counts, seats])):
                    self.told(room, counts)
                elif self._links.up(world):
                    dirty.add(room)
                    self._tell.set()
                    return
            self._drop_if_empty(room)

    def _drop_if_empty(self, room: MirrorRoom) -> None:
        if not room.count and self.rooms.get(room.key) is room:
            del self.rooms[room.key]

    def announce(self, world: str) -> None:
        """Tell a world all its rooms, after its stream began anew."""
        for room in self._dirty.pop(world, ()):
            self._drop_if_empty(room)
        rooms = [room for room in self.rooms.values() if room.world == world]
        self.digests[world] = 0
        for start in range(0, max(1, len(rooms)), ANNOUNCED_ROOMS):
            part = rooms[start : start + ANNOUNCED_ROOMS]
            rows = [[r.key, r.count, r.listening, r.epoch, r.offset] for r in part]
            last = start + ANNOUNCED_ROOMS >= len(rooms)
            self._links.send(world, pack_item(["announce", rows, start == 0, last]))
        for room in rooms:
            room.told = (0, 0)
            room.named = False
            self.told(room, (room.count, room.listening))

    def name_members(self, key: str, wanted: bool, world: str) -> None:
        """The world wants (or no longer wants) a room's members by name."""
        room = self.rooms.get(key)
        if room is not None:
            room.named = wanted
            if wanted:
                self.mark(room)
        elif wanted:
            self._links.send(world, pack_item(["count", key, 0, 0, []]))

    def send_digests(self) -> None:
        """Let each world compare what it counts with what it was told."""
        for world, digest in self.digests.items():
            if not self._dirty.get(world):
                self._links.send(world, pack_item(["digest", digest]))


def _seat(connection: Connection) -> list[Any]:
    """Give a member by name: [conn, uid, device, kind, since in ms] (its login epoch is unix µs)."""
    uid = connection.user.partition("/")[2]
    return [connection.number, uid, connection.device, connection.kind, connection.epoch // 1000]
