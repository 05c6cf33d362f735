"""Storage of players without Redis: what the scripts do, in memory, as dbservers answer it."""

from __future__ import annotations

from typing import Any

from common.errors import Unavailable
from common.rules.route import NOT_OWNER, OK, Answer, Change, Record, Save


class Shelf:
    """What is stored.

    Attributes:
        records: user -> record; changes: user -> id of the last change.
        away: it does not answer.
    """

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.changes: dict[str, str] = {}
        self.away = False

    def call(self, method: str, rows: list[Any], timeout: float | None = None) -> list[Any]:
        """Answer as a dbserver does."""
        if self.away:
            raise Unavailable("away")
        if method == "player_load":
            return [list(self.get(user)) for user in rows]
        if method == "player_save":
            return [list(self._save(Save(*row))) for row in rows]
        return [list(self._change(Change(*row))) for row in rows]

    def get(self, user: str) -> Record:
        """Give what is stored of a player."""
        return self.records.get(user, Record())

    def _save(self, save: Save) -> Answer:
        record = self.get(save.user)
        if (record.owner, record.route_ver) != (save.owner, save.route_ver):
            return self._answer(save.user, NOT_OWNER)
        self.records[save.user] = record._replace(save_ver=save.save_ver, input=save.input, blob=save.blob)
        return self._answer(save.user, OK)

    def _change(self, change: Change) -> Answer:
        record = self.get(change.user)
        if self.changes.get(change.user) == change.id:
            return self._answer(change.user, OK)
        if (record.owner, record.route_ver) != (change.owner, change.route_ver):
            return self._answer(change.user, NOT_OWNER)
        record = record._replace(owner=change.to_owner, place=change.to_place, route_ver=record.route_ver + 1)
        if change.state is not None:
            save_ver, number, blob = change.state
            record = record._replace(save_ver=save_ver, input=number, blob=blob)
        self.records[change.user], self.changes[change.user] = record, change.id
        return self._answer(change.user, OK)

    def _answer(self, user: str, status: str) -> Answer:
        record = self.get(user)
        return Answer(
            status, record.owner, record.place, record.route_ver, record.save_ver, self.changes.get(user, "")
        )
