"""What the subscribers of a topic read, and whether it is what they must read.

Servers write the same bytes to all subscribers of a topic. So the first who reads a message has it
parsed, and it is put behind what is known (`_data`); the others' bytes are compared with that, at the
price of a memcmp. A subscriber that reads something else (a ping, a jump) has its bytes parsed one
frame after the other until it is again where the others are. Either way each message
of each subscriber is checked.

    _data    whole frames of messages 1, 2, 3 …, as they are on the wire
    _ends    the place behind each of them

No I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence

from loadtest.peers.peer import Data, Frame

OWN = -1
"""The place of a subscriber that does not stand in the known bytes."""


class Topic:
    """The subscribers of one topic.

    Args:
        cut: gives the frame that begins at a place of some bytes, or None.
        say: is told (subscriber, words) what a subscriber has to write.

    Attributes:
        sent: messages published so far; they are numbered from 1.
        due: when each was due, by number - 1; unit of whoever appends.
        heard: messages, all subscribers together; repeats are not counted.
        missing: messages that were jumped over.
        repeats, misordered: messages that were the last one again, or an older one.
        refusals: what the server said went wrong -> how often.
    """

    def __init__(self, cut: Callable[[Data, int], Frame | None], say: Callable[[int, bytes], None]) -> None:
        self.due: list[int] = []
        self.heard = self.missing = self.repeats = self.misordered = 0
        self.refusals: Counter[str] = Counter()
        self._cut = cut
        self._say = say
        self._passed = 0
        self._data = bytearray()
        self._ends: list[int] = []
        self._at: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._rest: dict[int, bytes] = {}

    @property
    def sent(self) -> int:
        """Messages published so far."""
        return len(self.due)

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._at)

    @property
    def under_way(self) -> float:
        """Messages published and not yet passed by, for a subscriber on the average."""
        count = len(self._at)
        return (len(self.due) * count - self._passed) / count if count else 0.0

    def forgive(self) -> None:
        """Take all that is under way for passed by."""
        self._passed = len(self.due) * len(self._at)

    def add(self, subscriber: int, read: bytes = b"") -> None:
        """Take a subscriber, before the first message is published; `read`: what it has read already."""
        self._at[subscriber] = self._last[subscriber] = 0
        if read:
            self.take(subscriber, read)

    def drop(self, subscriber: int) -> None:
        """A subscriber has lost its connection: nothing is under way for it any more."""
        del self._at[subscriber]
        self._passed -= self._last.pop(subscriber)
        self._rest.pop(subscriber, None)

    def take(self, subscriber: int, data: bytes) -> Sequence[int]:
        """Take bytes that a subscriber has read, cut anywhere; give the numbers of the messages in it."""
        at, last = self._at[subscriber], self._last[subscriber]
        if at == OWN:
            return self._read(subscriber, last, self._rest.pop(subscriber) + data)
        if not self._data.startswith(data, at):
            begin = self._ends[last - 1] if last else 0
            return self._read(subscriber, last, bytes(self._data[begin:at]) + data)
        self._at[subscriber] = at = at + len(data)
        newest = bisect_right(self._ends, at, last)
        if newest > last:
            self._last[subscriber] = newest
            self.heard += newest - last
            self._passed += newest - last
        return range(last + 1, newest + 1)

    def _read(self, subscriber: int, last: int, data: bytes) -> Sequence[int]:
        """Parse what follows message `last`; put the subscriber back among the others if it fits."""
        heard, newest, start = [], last, 0
        while (frame := self._cut(data, start)) is not None:
            if frame.number:
                if self._judge(frame.number, newest):
                    newest = frame.number
                    heard.append(newest)
                    if newest == len(self._ends) + 1:
                        self._data += data[start : frame.end]
                        self._ends.append(len(self._data))
            elif frame.answer:
                self._say(subscriber, frame.answer)
            elif frame.refusal:
                self.refusals[frame.refusal] += 1
            start = frame.end
        self._last[subscriber] = newest
        self._passed += newest - last
        self.heard += len(heard)
        self._settle(subscriber, newest, data[start:])
        return heard

    def _judge(self, number: int, last: int) -> bool:
        """Count what is wrong with a message behind `last`; tell whether it is a new one."""
        if number > last:
            self.missing += number - last - 1
            return True
        self.repeats += number == last
        self.misordered += number < last
        return False

    def _settle(self, subscriber: int, last: int, rest: bytes) -> None:
        """Find a subscriber's place behind message `last` and a part of the next frame."""
        if last <= len(self._ends):
            begin = self._ends[last - 1] if last else 0
            if self._data.startswith(rest, begin):
                self._at[subscriber] = begin + len(rest)
                return
        self._at[subscriber] = OWN
        self._rest[subscriber] = rest
