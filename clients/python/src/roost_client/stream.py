"""One room as its member sees it: messages in order, each once, losses announced.

    offset        the last one delivered; everything up to it was delivered or announced
    held          pushes waiting for what is missing before them, without jumps
    target        the newest offset known to exist
    behind        held or offset < target: history must be fetched

The stream says what to deliver and what to fetch (`behind`, `position`); who asks,
and when again after an error, is the session's matter. No I/O, no clock.

Source: docs/protocol.md, section 6, Rooms.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .events import Epoch, Event, Gap, Message, Missed, Position, Rejoined, messages

HELD_MOST = 1000  # messages; what comes beyond is fetched again instead of being held


class RoomStream:
    """The place of one member in one room.

    Attributes:
        source: the connection whose pushes count (the one that answered the last join).
        asked: a join or history request for this room is under way.
        round: number of the request that counts; answers to older ones are stale.
        tries, retry_at: failed requests in a row, and when the next may go out.
    """

    __slots__ = (
        "asked",
        "epoch",
        "held",
        "offset",
        "presence",
        "retry_at",
        "room",
        "round",
        "source",
        "target",
        "tries",
    )

    def __init__(self, room: str, epoch: Epoch, offset: int, presence: bool, source: object) -> None:
        self.room = room
        self.presence = presence
        self.source = source
        self.epoch = epoch
        self.offset = offset
        self.target = offset
        self.held: deque[Message] = deque()
        self.asked = False
        self.round = 0
        self.tries = 0
        self.retry_at = 0.0

    @property
    def position(self) -> Position:
        """Where the application is: what `since` takes."""
        return Position(self.epoch, self.offset)

    @property
    def behind(self) -> bool:
        """Something after `offset` exists that was not delivered."""
        return self.target > self.offset

    def begin_round(self) -> int:
        """Make answers to all earlier requests stale; give the number of the new one."""
        self.round += 1
        self.asked = False
        return self.round

    def forget_tries(self) -> None:
        """The last request worked, or the next goes over a new connection."""
        self.tries = 0
        self.retry_at = 0.0

    def push(self, body: dict[str, Any], events: list[Event], skip: bool = False) -> None:
        """Take a pushed message.

        Args:
            body: of the `message` packet.
            events: what is to be delivered is appended here.
            skip: the application is too slow; leave it to be fetched later.
        """
        offset: int = body["offset"]
        if offset <= self.offset:
            return
        if offset == self.offset + 1 and self.target < offset and not skip:
            self.offset = self.target = offset
            events.append(Message.from_body(body, self.room, self.epoch))
            return
        after_held = not self.held or offset == self.held[-1].offset + 1
        fits = offset > self.target and len(self.held) < HELD_MOST
        if after_held and fits and not skip:
            self.held.append(Message.from_body(body, self.room, self.epoch))
        self.target = max(self.target, offset)

    def gap(self, epoch: Epoch, offset: int, reason: str) -> list[Event]:
        """Take a `gap`; give what is to be delivered, the `Gap` last."""
        events: list[Event] = []
        if reason == "epoch" or epoch != self.epoch:
            events += self.give_up()
            self._move(epoch, 0)
            reason = "epoch"
        self.target = max(self.target, offset)
        events.append(Gap(self.room, self.epoch, offset, reason))
        return events

    def joined(self, reply: dict[str, Any]) -> list[Message]:
        """Take the reply to the application's own join: begin at what it gives."""
        found = messages(reply.get("messages", ()), self.room, reply["epoch"])
        newest: int = reply["offset"]
        at = found[-1].offset if found and reply.get("more") else newest
        self._move(reply["epoch"], at)
        self.target = newest
        return found

    def rejoined(self, reply: dict[str, Any]) -> list[Event]:
        """Take the reply to a join after a loss; give the `Rejoined` and what follows it."""
        epoch, newest = reply["epoch"], reply["offset"]
        recovered = bool(reply["recovered"]) and epoch == self.epoch
        found = messages(reply.get("messages", ()), self.room, epoch)
        events: list[Event] = []
        missed: int | None = 0
        if not recovered:
            events += self._give_held()
            known = epoch == self.epoch and newest >= self.offset
            fresh = [message for message in found if not known or message.offset > self.offset]
            first = fresh[0].offset if fresh else newest + 1
            missed = first - 1 - self.offset if known else None
            if epoch == self.epoch and not known:
                found = []  # the room went back: nobody can tell which of these were seen
                first = newest + 1
            self._move(epoch, first - 1)
        else:
            self._move(self.epoch, self.offset)
        count = int(reply.get("count", 0))
        events.append(Rejoined(self.room, epoch, newest, recovered, missed, count))
        self._deliver(found, events)
        self.target = max(self.offset, newest)
        return events

    def subscribed(self, epoch: Epoch, offset: int) -> list[Event]:
        """Take a `subscribed` for a room this client is in already."""
        if epoch != self.epoch:
            return self.gap(epoch, offset, "epoch")
        self.target = max(self.target, offset)
        return []

    def history(self, reply: dict[str, Any]) -> list[Event]:
        """Take a history reply; give what is to be delivered. Still `behind`: ask again."""
        newest: int = reply["offset"]
        if reply["epoch"] != self.epoch:
            return self.give_up()  # the `gap` that says so is on its way
        if not reply["recovered"] and newest < self.offset:
            events = self._give_held()
            self._move(self.epoch, newest)
            return [*events, Gap(self.room, self.epoch, newest, "epoch")]
        found = messages(reply.get("messages", ()), self.room, self.epoch)
        unfinished = bool(reply.get("more")) and bool(found) and found[-1].offset > self.offset
        reach = found[-1].offset if unfinished else newest
        ready = {message.offset: message for message in self.held if message.offset <= reach}
        ready.update((message.offset, message) for message in found)
        self.held = deque(message for message in self.held if message.offset > reach)
        events = []
        self._deliver([ready[offset] for offset in sorted(ready)], events)
        if not unfinished:
            self._skip_to(newest, events)
            while self.held and self.held[0].offset == self.offset + 1:
                self._deliver([self.held.popleft()], events)
        return events

    def give_up(self) -> list[Event]:
        """Stop waiting for what is missing: announce it, and deliver what was held."""
        events = self._give_held()
        self._skip_to(self.target, events)
        return events

    def _give_held(self) -> list[Event]:
        events: list[Event] = []
        self._deliver(self.held, events)
        self.held.clear()
        return events

    def _deliver(self, found: deque[Message] | list[Message], events: list[Event]) -> None:
        for message in found:
            if message.offset <= self.offset:
                continue
            self._skip_to(message.offset - 1, events)
            self.offset = message.offset
            events.append(message)
        self.target = max(self.target, self.offset)

    def _skip_to(self, offset: int, events: list[Event]) -> None:
        """Everything up to `offset` that was not delivered is announced as missed."""
        if offset > self.offset:
            events.append(Missed(self.room, self.epoch, self.offset + 1, offset))
            self.offset = offset

    def _move(self, epoch: Epoch, offset: int) -> None:
        """Go on from another place; nothing asked or held before counts."""
        self.begin_round()
        self.forget_tries()
        self.held.clear()
        self.epoch = epoch
        self.offset = self.target = offset
