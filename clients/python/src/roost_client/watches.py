"""The users a session watches; a new connection has to ask for them again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .connection import Connection, Request
from .events import Event, Presence
from .retry import RetryPlan

AT_ONCE = 100  # users in one request


class Watches:
    """Who is watched, and which of them this connection was not yet asked for."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.users: dict[str, None] = {}
        self._random = random
        self._waiting: list[list[str]] = []
        self._at = 0.0
        self._tries = 0
        self._connection: Connection | None = None

    def begin(self, now: float) -> None:
        """A new connection: all are to be asked for."""
        users = list(self.users)
        self._waiting = [users[at : at + AT_ONCE] for at in range(0, len(users), AT_ONCE)]
        self._at = now
        self._tries = 0

    def wake_at(self) -> float:
        """Give the time by which `step` is to be called; infinity when nothing waits."""
        return self._at if self._waiting else float("inf")

    def step(self, connection: Connection, now: float, plan: RetryPlan) -> None:
        """Send what is due."""
        self._connection = connection
        if now < self._at:
            return
        waiting, self._waiting = self._waiting, []
        for users in waiting:
            then = partial(self._answered, users, now + plan.delay(self._tries, self._random))
            connection.request("watch", {"users": users}, now, then, internal=True)

    def changed(self, users: list[str], off: bool, _connection: Connection, request: Request) -> list[Event]:
        """The application's own request was answered."""
        if request.error is None:
            for uid in users:
                if off:
                    self.users.pop(uid, None)
                else:
                    self.users[uid] = None
        return []

    def _answered(
        self, users: list[str], again_at: float, connection: Connection, request: Request
    ) -> list[Event]:
        if connection is not self._connection:
            return []
        if request.error is None:
            self._tries = 0
            found = request.value.get("users", ())
            return [Presence(user["uid"], user["online"], [], None) for user in found]
        if request.error.retry:
            self._waiting.append(users)
            self._tries += 1
            self._at = max(self._at, again_at)
        return []
