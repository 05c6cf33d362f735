"""Last seen and time online of users, gathered until storage has taken them.

One entry per user whatever happens to it meanwhile, so that storage being away costs
memory by users and not by events.
"""

from __future__ import annotations

from itertools import islice

from common.rules.devices import User


class Seen:
    """What is still to be written: user -> (last seen in unix ms, seconds online to add)."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[int, int]] = {}
        self._batch: list[tuple[str, int, int]] = []
        self._round: list[str] = []

    def __len__(self) -> int:
        return len(self._users) + len(self._batch)

    def add(self, user: str, seen_ms: int, seconds: int) -> None:
        """Merge one observation: the later moment, the sum of the seconds."""
        known = self._users.get(user)
        if known is not None:
            seen_ms, seconds = max(seen_ms, known[0]), seconds + known[1]
        self._users[user] = (seen_ms, seconds)

    def batch(self, limit: int) -> list[tuple[str, int, int]]:
        """Give at most `limit` rows [user, seen_ms, seconds] to write, those waiting longest first.

        Until `written` the same rows come again: storage knows a repeated batch by its
        content and does not add its seconds twice.
        """
        if not self._batch:
            self._batch = [(user, *values) for user, values in islice(self._users.items(), limit)]
            for row in self._batch:
                del self._users[row[0]]
        return self._batch

    def written(self, batch: list[tuple[str, int, int]]) -> None:
        """Let go of a batch; one let go already changes nothing."""
        if batch is self._batch:
            self._batch = []

    def count(self, name: str, user: User, now: int) -> None:
        """Add up a user's online time until `now` (unix ms); less than a second is left for the next time."""
        seconds = max(0, now - user.counted) // 1000
        user.counted += seconds * 1000
        self.add(name, now, seconds)

    def count_share(self, users: dict[str, User], turn: int, turns: int, now: int) -> None:
        """Count one turn's share of all who are connected.

        Args:
            turn: 0 … turns - 1; with 0 a round over all who are online begins.
        """
        if turn == 0:
            self._round = list(users)
        share = -(-len(self._round) // (turns - turn))
        for _ in range(share):
            name = self._round.pop()
            user = users.get(name)
            if user is not None and user.connected():
                self.count(name, user, now)

    def count_all(self, users: dict[str, User], now: int) -> None:
        """Count everybody who is connected: this process stops."""
        for name, user in users.items():
            if user.connected():
                self.count(name, user, now)
