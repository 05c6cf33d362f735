"""One other process, as links and handlers see it: its stream and the queues of both directions."""

from __future__ import annotations

from collections import deque
from typing import Any

from gevent.event import Event

from common.rules.streams import Stream


class Peer:
    """Both queues and what is known of the other process. Nothing here switches greenlets.

    Attributes:
        stream: decides what is valid.
        told: the session (`Stream.begun`) the service was told is up; 0 none.
        deaf_until: monotonic seconds; what comes before that is not listened to.
        outgoing, incoming: packed items; batches of items as (bytes on the wire, items).
        arrived: set when there is something to handle.
        due: it is about to be sent a batch; sent_at: monotonic seconds of the last one.
        stuck: a batch that zmq does not take, since the peer does not read.
        pusher: the zerorpc socket to it.
    """

    __slots__ = (
        "arrived",
        "arrived_bytes",
        "deaf_until",
        "due",
        "incoming",
        "name",
        "outgoing",
        "outgoing_bytes",
        "pusher",
        "sent_at",
        "stream",
        "stuck",
        "told",
    )

    def __init__(self, own_name: str, name: str) -> None:
        self.name = name
        self.stream = Stream(own_name, name)
        self.told = 0
        self.deaf_until = 0.0
        self.outgoing: list[bytes] = []
        self.outgoing_bytes = 0
        self.due = False
        self.sent_at = 0.0
        self.stuck: bytes | None = None
        self.incoming: deque[tuple[int, list[list[Any]]]] = deque()
        self.arrived_bytes = 0
        self.arrived = Event()
        self.pusher: Any = None

    @property
    def up(self) -> bool:
        """The stream is open and the service knows."""
        return self.stream.open and self.told == self.stream.begun

    @property
    def incarnation(self) -> str:
        """The newest incarnation heard of."""
        return self.stream.incarnation

    @property
    def term(self) -> int:
        """Its newest lease term."""
        return self.stream.term

    def queue(self, item: bytes, limit: int) -> bool:
        """Put an item behind the others; False when they would be above `limit` bytes."""
        if self.outgoing_bytes + len(item) > limit:
            return False
        self.outgoing.append(item)
        self.outgoing_bytes += len(item)
        return True

    def take(self, size: int) -> list[bytes]:
        """Take the next items, `size` bytes or a little more of them."""
        if self.outgoing_bytes <= size:
            items, self.outgoing, self.outgoing_bytes = self.outgoing, [], 0
            return items
        count, taken = 0, 0
        while taken < size:
            taken += len(self.outgoing[count])
            count += 1
        items, self.outgoing = self.outgoing[:count], self.outgoing[count:]
        self.outgoing_bytes -= taken
        return items

    def arrive(self, items: list[list[Any]], size: int, limit: int) -> bool:
        """Queue items to be handled; False when what waits would be above `limit` bytes."""
        if self.arrived_bytes + size > limit:
            return False
        self.incoming.append((size, items))
        self.arrived_bytes += size
        self.arrived.set()
        return True

    def next_items(self) -> list[list[Any]]:
        """Take the oldest batch of items off the queue."""
        size, items = self.incoming.popleft()
        self.arrived_bytes -= size
        return items

    def put_back(self, items: list[list[Any]]) -> None:
        """Put what is left of a batch before the others; it counts for nothing any more."""
        self.incoming.appendleft((0, items))

    def clear(self) -> int:
        """Throw away all that waits, both ways; give how many items that were."""
        discarded = len(self.outgoing) + sum(len(items) for _, items in self.incoming)
        self.outgoing, self.outgoing_bytes = [], 0
        self.incoming.clear()
        self.arrived_bytes = 0
        return discarded
