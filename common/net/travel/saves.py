"""Saving the players of one world process while they play.

A player's state is taken at the moment it is sent, so nothing waits in a queue: while
storage is away a save is only put off, and the next one has what the player is then.
What is stored already is not sent again.

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from common.errors import RequestError
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.travel.claims import ROWS, Logic
from common.rules.route import BLOB_LIMIT, NOT_OWNER, OK, STALE, Answer, Save
from common.rules.stay import GONE, Stay

Done = Callable[[bool], None]
Ask = Callable[[str, list[Any]], list[Answer | RequestError]]


class Saves:
    """Saves who is due.

    Args:
        stays: all players of the process.
        logic: gives their states.
        ask: calls a dbserver with rows.
        lose: told of a player that has another owner.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stays: dict[str, Stay],
        logic: Logic,
        ask: Ask,
        lose: Callable[[Stay], None],
        clock: Callable[[], float],
    ) -> None:
        self._stays = stays
        self._logic = logic
        self._ask = ask
        self._lose = lose
        self._clock = clock
        self._wanted: dict[str, list[Done]] = {}
        self._unsaved = Doubling()
        self._failed = Doubling()
        self._log = get_log()

    def want(self, stay: Stay, done: Done) -> None:
        """Save a player with the next step; `done(whether it was stored)`."""
        stay.save_at = 0.0
        self._wanted.setdefault(stay.user, []).append(done)

    def ended(self, stay: Stay) -> None:
        """A player is gone: what was wanted is stored if the change that ended its stay took it along."""
        self._tell(self._wanted.pop(stay.user, []), stay.reason != "lost")

    def snapshot(self, stay: Stay) -> bytes | None:
        """Give a player's state; None, said in the log, where there is none that can be stored."""
        blob = self._logic.snapshot(stay)
        if blob is not None and len(blob) <= BLOB_LIMIT:
            return blob
        self._tell(self._wanted.pop(stay.user, []), False)
        if self._failed.hit():
            size = None if blob is None else len(blob)
            self._log.error("player cannot be saved", user=stay.user, bytes=size, count=self._failed.count)
        return None

    def step(self) -> bool:
        """Save who is due, as many as go in one call; True when more may be due. Switches greenlets."""
        now = self._clock()
        due = list(islice((stay for stay in self._stays.values() if stay.due(now)), ROWS))
        saves = [save for stay in due if (save := self._next(stay, now)) is not None]
        if not saves:
            return len(due) == ROWS
        waiting = {save.user: self._wanted.pop(save.user, []) for save in saves}
        stays = [self._stays[save.user] for save in saves]
        answers = self._ask("player_save", list(saves))
        for stay, save, answer in zip(stays, saves, answers, strict=True):
            is_stored = isinstance(answer, Answer) and answer.status == OK
            self._take(stay, save, answer)
            self._tell(waiting[save.user], is_stored)
        return len(due) == ROWS

    def _next(self, stay: Stay, now: float) -> Save | None:
        """Give what is to be stored of a player, if anything."""
        blob = self.snapshot(stay)
        save = None if blob is None else stay.save(blob)
        if save is None:
            stay.skip(now)
            self._tell(self._wanted.pop(stay.user, []), True)
        return save

    def _take(self, stay: Stay, save: Save, answer: Answer | RequestError) -> None:
        """A save has an answer."""
        if stay.state == GONE:
            return
        if isinstance(answer, Answer) and answer.status == OK:
            stay.stored(save, self._clock())
            return
        if isinstance(answer, Answer) and answer.status == NOT_OWNER:
            if stay.live and stay.route_ver == save.route_ver:
                self._lose(stay)
            return
        if isinstance(answer, Answer) and answer.status == STALE:
            stay.save_ver = max(stay.save_ver, answer.save_ver)
        stay.unsaved(self._clock())
        if self._unsaved.hit():
            self._log.warning("player not saved", user=stay.user, count=self._unsaved.count)

    def _tell(self, waiting: list[Done], is_stored: bool) -> None:
        for done in waiting:
            done(is_stored)
