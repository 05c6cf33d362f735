"""The rooms of one world process: made, kept within memory, let go of.

Rooms stand in the order they were used in, the longest unused first: those give way
when the memory cap is reached. A room that nobody is in goes after its idle time.

Source: docs/storage.md, section 3.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from common.net.hall.fanout import Fanout
from common.net.metrics import Counters
from common.net.pace import in_slices
from common.rules.cache import Entry, Keep, Reason
from common.rules.patterns import fits
from common.rules.room import Message, Room
from common.rules.wheel import Wheel
from common.settings import RoomRule
from common.settings import World as WorldSettings
from common.wire.names import room_of

ROOM_BYTES = 800
"""What a room costs besides its history (measured: 770 with members on two gateways)."""
IDLE_TICK = 0.5
IDLE_SLOTS = 1_200

Busy = Callable[[str], bool]
"""Tells whether something of a room is under way, so that it must stay."""


class Book:
    """All rooms this process owns.

    Args:
        settings: rules by pattern, caps.
        fanout: the way to gateways.
        counters: `published`, `rooms_evicted`.
        clock: monotonic seconds.

    Attributes:
        rooms: key -> room, the longest unused first.
        held_bytes: what they and their histories hold.
        members: connections in all of them together.
    """

    def __init__(
        self,
        settings: WorldSettings,
        fanout: Fanout,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rooms: OrderedDict[str, Room] = OrderedDict()
        self.held_bytes = 0
        self.members = 0
        self.clock = clock
        self.fanout = fanout
        self._memory_bytes = settings.memory_bytes
        self._counters = counters
        self._rules = {self._keep(rule): rule for rule in (*settings.rooms, RoomRule())}
        self._idle: Wheel[Room] = Wheel(IDLE_TICK, IDLE_SLOTS, clock())
        self._last_epoch = 0

    def _keep(self, rule: RoomRule) -> Keep:
        """Give the history limits that all rooms under a rule share."""
        limits = (rule.history_items, rule.history_bytes, rule.history_seconds)
        return Keep(*limits, "sequence", self._message_gone)

    def _message_gone(self, entry: Entry[Any], _reason: Reason) -> None:
        self.held_bytes -= entry.size

    # rooms

    def room(self, key: str) -> Room:
        """Give a room; made where there was none: with a new epoch, a durable one not loaded yet."""
        room = self.rooms.get(key)
        if room is None:
            keep, rule = self._keep_and_rule(key)
            epoch = 0 if rule.durable else self.new_epoch()
            room = self.rooms[key] = Room(key, keep, epoch, 0, self.clock())
            self.held_bytes += ROOM_BYTES
            self._watch(room)
        return room

    def _keep_and_rule(self, key: str) -> tuple[Keep, RoomRule]:
        name = room_of(key)
        return next(pair for pair in self._rules.items() if fits(pair[1].pattern, name))

    def rule_of(self, key: str) -> RoomRule:
        """Give the rule a room of this key is under; there need not be one."""
        return self._keep_and_rule(key)[1]

    def rule(self, room: Room) -> RoomRule:
        """Give the rule a room is under."""
        return self._rules[room.history.keep]

    def new_epoch(self) -> int:
        """Give an epoch no room of this process had before: unix µs."""
        self._last_epoch = max(self._last_epoch + 1, time.time_ns() // 1000)
        return self._last_epoch

    def keep(self, room: Room, message: Message, said_at: float) -> None:
        """Take the room's next message into its history; `said_at` by `clock`."""
        size = room.add(message, said_at)
        self.held_bytes += size

    def begin(self, room: Room, epoch: int, offset: int) -> None:
        """Let a room go on after `offset` of an epoch (0: it is not loaded); what it kept is gone."""
        self.held_bytes -= room.history.held_bytes
        room.begin(epoch, offset)

    def set_members(self, room: Room, gateway: str, count: int, listening: int) -> int:
        """Note a gateway's absolute counts in a room; give the change of the gateway's digest."""
        before = room.count
        change = room.set_members(gateway, count, listening)
        self.members += room.count - before
        self._touch(room)
        if not room.members:
            self._watch(room)
        return change

    def _touch(self, room: Room) -> None:
        room.touched_at = self.clock()
        self.rooms.move_to_end(room.key)

    def publish(self, room: Room, message: Message) -> None:
        """Take the room's next message and send it to every gateway with members."""
        self._touch(room)
        self.keep(room, message, room.touched_at)
        self._counters.published += 1
        if room.members:
            self.fanout.send_all(
                room, ["m", room.key, message.offset, message.uid, message.data, message.time]
            )

    # what goes

    def sweep(self, busy: Busy) -> None:
        """Let go of rooms empty for long, and above the memory cap of what was unused longest."""
        for room in in_slices(self._idle.advance(self.clock())):
            room.watched = False
            if self.rooms.get(room.key) is room and not room.members:
                self._let_go(room, busy)
        for _ in in_slices(range(len(self.rooms))):
            if self.held_bytes <= self._memory_bytes:
                return
            self._give_way(next(iter(self.rooms.values())), busy)

    def _watch(self, room: Room) -> None:
        """Look at an empty room again when its idle time is over."""
        if not room.watched:
            room.watched = True
            self._idle.add(room.touched_at + self.rule(room).idle_seconds, room)

    def _let_go(self, room: Room, busy: Busy) -> None:
        if room.idle(self.clock(), self.rule(room).idle_seconds) and not busy(room.key):
            self._drop(room)
        else:
            self._watch(room)

    def _drop(self, room: Room) -> None:
        del self.rooms[room.key]
        self.held_bytes -= ROOM_BYTES
        self.begin(room, 0, 0)

    def _give_way(self, room: Room, busy: Busy) -> None:
        """Drop a room, or its history where it has members: they hear of the new epoch.

        A durable room is loaded again when it is used. One with nothing to drop keeps its
        place at the end of the line.
        """
        self.rooms.move_to_end(room.key)
        if busy(room.key):
            return
        if not room.members:
            self._counters.rooms_evicted += 1
            self._drop(room)
        elif len(room.history):
            self._counters.rooms_evicted += 1
            durable = self.rule(room).durable
            self.begin(room, 0 if durable else self.new_epoch(), 0)
            if not durable:
                self.fanout.sync_all(room)
