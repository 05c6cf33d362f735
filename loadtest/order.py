"""Whether one client heard its rooms in order: offset after offset, nothing lost in silence.

What the client was told (`missed`, a new epoch) is loss, but no violation. Pure: told
what was heard, it counts, and gives words for what must not be.
"""

from __future__ import annotations

from roost_client import Gap, Message, Missed, Rejoined
from roost_client.events import Epoch


class Order:
    """The rooms of one client.

    Attributes:
        heard: messages, all rooms together.
        missed: messages announced as gone.
    """

    def __init__(self) -> None:
        self.heard = 0
        self.missed = 0
        self._at: dict[str, tuple[Epoch, int | None]] = {}

    def joined(self, room: str, epoch: Epoch, offset: int) -> None:
        """Begin a room behind `offset`, unless its messages have been quicker than the reply."""
        self._at.setdefault(room, (epoch, offset))

    def message(self, event: Message) -> str | None:
        """Take a message; give what is wrong with it."""
        epoch, last = self._at.get(event.room, (event.epoch, None))
        self.heard += 1
        self._at[event.room] = (event.epoch, event.offset)
        if event.epoch != epoch:
            return f"{event.room}: a message of epoch {event.epoch} in epoch {epoch}"
        if last is not None and event.offset != last + 1:
            return f"{event.room}: offset {event.offset} after {last}"
        return None

    def was_missed(self, event: Missed) -> str | None:
        """Take what is announced as gone; give what is wrong with that."""
        epoch, last = self._at.get(event.room, (event.epoch, None))
        self.missed += event.last - event.first + 1
        self._at[event.room] = (event.epoch, event.last)
        if last is not None and event.first != last + 1:
            return f"{event.room}: missed from {event.first} after {last}"
        return None

    def began_anew(self, event: Gap | Rejoined) -> None:
        """Take a gap or a rejoin: after a lost place any offset may come next."""
        if isinstance(event, Gap) and event.reason != "epoch":
            return
        if isinstance(event, Rejoined) and event.recovered:
            return
        self._at[event.room] = (event.epoch, None)

    def reached(self, room: str, epoch: Epoch, offset: int) -> bool:
        """Tell whether a message was heard, announced as gone, or belongs to an epoch that ended."""
        known, last = self._at.get(room, (epoch, None))
        return known != epoch or (last is not None and last >= offset)
