"""What a flock has heard, and whether that is what it must have heard.

A client's room goes on from the offset of its `join` reply: the next message has the next offset.
One that is not above the last is a *repeat* (and an *order error* when the one before it
came later); a jump is *missing* by its width; a `gap` too, though it was announced.
Broadcasts are numbered by who sends them: from its first one on a client hears each once, in order.
Unicasts are numbered over all clients; the sender compares what came with what was sent.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from loadtest.flock.histogram import Histogram
from loadtest.flock.members import HERE, Members
from loadtest.flock.packets import IN_ROOM, TO_ALL, TO_USER, Heard
from loadtest.flock.plan import Plan

TIMES = ("login", "reconnect", "heartbeat", "publish", "delivery", "unicast", "broadcast", "lag")


class Ledger:
    """The books of one flock.

    Attributes:
        counts: what happened, by name; they only grow.
        errors: texts of what must not be -> how often.
        times: histograms by name, see TIMES.
        last_broadcast: unix µs when one was last heard.
    """

    def __init__(self, plan: Plan, members: Members) -> None:
        self._plan = plan
        self._members = members
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.times = {name: Histogram() for name in TIMES}
        self.messages = 0
        self.pongs = 0
        self.last_broadcast = 0
        self._room_number = plan.room_number
        self._delivery = self.times["delivery"]
        self._heartbeat = self.times["heartbeat"]
        self._unicasts: set[int] = set()
        self._mail: dict[int, int] = {}
        self._confirmed: dict[int, int] = {}

    def message(self, slot: int, heard: Heard, at: int) -> None:
        """Take a room message, heard at unix µs."""
        self.messages += 1
        _op, _id, _body, room, offset, kind, _number, sent = heard
        offsets = self._members.offset
        last = offsets[slot]
        if offset != last + 1:
            self._misplaced(last, offset)
        if offset > last:
            offsets[slot] = offset
        if room != self._room_number(slot) and self._plan.joins:
            self.errors["a message of a room it is not in"] += 1
        if kind == IN_ROOM and sent:
            self._delivery.record(at - sent)

    def _misplaced(self, last: int, offset: int) -> None:
        if offset > last:
            self.counts["missing"] += offset - last - 1
            return
        self.counts["repeats"] += offset == last
        self.counts["order_errors"] += offset < last

    def joined(self, slot: int, body: dict[str, Any]) -> None:
        """Take the reply to a join: where the room stands, with what was missed since."""
        members, epoch, offset = self._members, body["epoch"], body["offset"]
        was = members.epoch[slot]
        if was and was != epoch:
            self.counts["epochs"] += 1
        elif was:
            for message in body["messages"]:
                self.counts["recovered"] += 1
                if message["offset"] != members.offset[slot] + 1:
                    self._misplaced(members.offset[slot], message["offset"])
                members.offset[slot] = message["offset"]
            if offset != members.offset[slot]:
                self._misplaced(members.offset[slot], offset + 1)
        members.epoch[slot], members.offset[slot] = epoch, offset

    def gap(self, slot: int, body: dict[str, Any]) -> None:
        """Take an announced gap."""
        self.counts["gaps"] += 1
        members = self._members
        if body["epoch"] == members.epoch[slot]:
            self.counts["missing"] += max(0, body["offset"] - members.offset[slot])
        else:
            self.counts["epochs"] += 1
        members.epoch[slot], members.offset[slot] = body["epoch"], body["offset"]

    def pong(self, slot: int, at: int) -> None:
        """Take the answer to a ping."""
        self.pongs += 1
        self._members.answered[slot] = at
        self._heartbeat.record(at - self._members.asked[slot])

    def inbox(self, slot: int, heard: Heard, at: int) -> None:
        """Take a message to the user."""
        self.counts["inbox"] += 1
        if heard.kind == TO_ALL:
            self.counts["broadcasts"] += 1
            last = self._members.broadcast[slot]
            if heard.number <= last:
                self.counts["repeats" if heard.number == last else "order_errors"] += 1
            elif last:
                self.counts["missing"] += heard.number - last - 1
            self._members.broadcast[slot] = max(last, heard.number)
            self.last_broadcast = max(self.last_broadcast, at)
            self.times["broadcast"].record(at - heard.sent)
            return
        if not self._is_new(slot, heard.body):
            return
        if heard.kind == TO_USER:
            if heard.number in self._unicasts:
                self.counts["repeats"] += 1
                return
            self._unicasts.add(heard.number)
            self.counts["unicasts"] += 1
            self.times["unicast"].record(at - heard.sent)

    def _is_new(self, slot: int, body: dict[str, Any]) -> bool:
        """Tell whether a message is to be taken; a kept one that is repeated is dropped by its number."""
        seq = body.get("seq")
        if seq is None:
            return True
        self.counts["missing"] += bool(body.get("gap"))
        if seq <= self._mail.get(slot, 0):
            self.counts["kept_again"] += 1
            return False
        self.counts["kept"] += 1
        self._mail[slot] = seq
        return True

    def behind(self, newest: dict[str, int]) -> int:
        """Give how many messages the clients have not heard of their rooms, and have not been told of.

        Args:
            newest: room number, as text -> its newest offset.
        """
        rooms = {int(number): offset for number, offset in newest.items()}
        offset = self._members.offset
        return sum(
            max(0, rooms.get(self._plan.room_number(slot), 0) - offset[slot]) for slot in range(len(offset))
        )

    def published(self, slot: int, offset: int) -> None:
        """Take the answer to a publish: the offset its room gave it."""
        room = self._plan.room_number(slot)
        self._confirmed[room] = max(offset, self._confirmed.get(room, 0))

    def uneven(self) -> int:
        """Give how many messages to their rooms, or to all, clients lack that others of this flock know of.

        What one member hears all hear, and an answered publish has an offset: so when nothing is on
        its way any more this is 0. A client counts while it is here; broadcasts from its first one on.
        """
        members, room_number = self._members, self._plan.room_number
        here = [slot for slot, state in enumerate(members.state) if state == HERE]
        newest = dict(self._confirmed)
        for slot in here:
            room = room_number(slot)
            newest[room] = max(members.offset[slot], newest.get(room, 0))
        told = max(members.broadcast, default=0)
        return sum(
            newest[room_number(slot)] - members.offset[slot] + told - (members.broadcast[slot] or told)
            for slot in here
        )

    @property
    def misplaced(self) -> int:
        """How many room messages were not the next one."""
        return sum(self.counts[name] for name in ("missing", "repeats", "order_errors"))

    def report(self) -> dict[str, Any]:
        """Give all counts; the times since the last report."""
        return {
            "counts": {
                **self.counts,
                "messages": self.messages,
                "pongs": self.pongs,
                "misplaced": self.misplaced,
            },
            "errors": dict(self.errors.most_common(20)),
            "times": {name: taken for name, one in self.times.items() if (taken := one.take())},
            "last_broadcast": self.last_broadcast,
        }
