"""Changes of players' owners on their way to storage: what is asked, and what may be done without an answer.

    Entry    somebody is to come in: looked up, then claimed
    Job      a change of the owner: claim, leave, move, or keep

A *keep* ends the doubt about another change: it sets the owner that is there already,
with a new route_ver. Once it is stored, the change it follows cannot happen any more; where
that one has happened, the keep is refused and the answer says so.

Source: docs/decisions/a-move-given-up-is-a-change-too.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Protocol, TypeVar

from common.errors import RequestError
from common.rules.route import Answer, Change, Record
from common.rules.stay import Stay, backoff

CLAIM, LEAVE, MOVE, KEEP = "claim", "leave", "move", "keep"

ROWS = 64
"""Players in one call; with states of BLOB_LIMIT it is 4 MiB."""

Came = Callable[[Stay, Record], None]
"""Called with a player that is in, and what was stored of it."""
Refuse = Callable[[RequestError], None]
Ended = Callable[[Stay], None]


class Logic(Protocol):
    """What the keeper asks of the map's side; none of it may switch greenlets or raise."""

    def snapshot(self, stay: Stay) -> bytes | None:
        """Give a player's state, up to BLOB_LIMIT; None where the map's code failed: the last save stays."""

    def frozen(self, stay: Stay) -> None:
        """Take a player out of play: nothing changes it until `thawed` or `ended`; `snapshot` may follow."""

    def ended(self, stay: Stay) -> None:
        """Forget a player; `stay.reason`: left, moved, lost."""

    def thawed(self, stay: Stay) -> None:
        """Go on with a player: its leaving or move did not take place, or a fenced process still has it."""


class Try:
    """Something tried until an answer comes.

    Attributes:
        doubt: a try had no answer; it may have been carried out, or will be.
        failures: tries without success, in a row.
        retry_at: when the next one is due.
    """

    __slots__ = ("doubt", "failures", "retry_at", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.doubt = False
        self.failures = 0
        self.retry_at = 0.0

    def failed(self, now: float, doubt: bool) -> None:
        """Try again later."""
        self.doubt = self.doubt or doubt
        self.retry_at = now + backoff(self.user, self.failures)
        self.failures += 1


class Entry(Try):
    """Somebody who is to come in.

    Args:
        until: when to give up.
        ours_only: come in only if storage says that this process has the player.
    """

    __slots__ = ("came", "ours_only", "place", "record", "refuse", "stay", "until")

    def __init__(
        self, user: str, place: str, came: Came, refuse: Refuse, until: float, ours_only: bool
    ) -> None:
        super().__init__(user)
        self.place = place
        self.came = came
        self.refuse = refuse
        self.until = until
        self.ours_only = ours_only
        self.stay: Stay | None = None
        self.record = Record()


class Job(Try):
    """A change of a player's owner.

    Args:
        kind: CLAIM, LEAVE, MOVE or KEEP.
        change: what is stored; `to_owner` of claims and keeps is set when it is sent.
        until: when to give up; only moves are.
        ended: called once it has ended, however.

    Attributes:
        given_up: it shall not happen any more; where it may have, a keep finds out.
        under_way: a call carries it now.
        follows: of a keep, the kind and id of the change it puts an end to.
    """

    __slots__ = ("change", "ended", "follows", "given_up", "kind", "stay", "under_way", "until")

    def __init__(
        self,
        kind: str,
        stay: Stay,
        change: Change,
        until: float = float("inf"),
        ended: Ended | None = None,
        follows: tuple[str, str] = ("", ""),
    ) -> None:
        super().__init__(stay.user)
        self.kind = kind
        self.stay = stay
        self.change = change
        self.until = until
        self.ended = ended
        self.follows = follows
        self.given_up = False
        self.under_way = False

    @property
    def may_be_stored(self) -> bool:
        """Tell whether a try was sent and nobody knows that it was not carried out."""
        return self.doubt or self.under_way

    def keep(self, change_id: str) -> Job:
        """Give the change that finds out about this one, and puts an end to it."""
        follows = self.follows if self.kind == KEEP else (self.kind, self.change.id)
        change = self.change._replace(id=change_id, to_place=self.stay.place, state=None)
        return Job(KEEP, self.stay, change, ended=self.ended, follows=follows)

    def fate(self, answer: Answer) -> str:
        """Give the reason of a player's end, from the answer to a change that was refused."""
        kind, change_id = self.follows if self.kind == KEEP else (self.kind, self.change.id)
        if kind == LEAVE and answer.change == change_id:
            return "left"
        if kind == MOVE and answer.change == change_id:
            return "moved"
        return "lost"


One = TypeVar("One", bound=Try)


def due(tries: Mapping[str, One], now: float) -> tuple[list[One], bool]:
    """Give the first that are due, as many as go in one call, and whether there may be more."""
    found = list(islice((one for one in tries.values() if one.retry_at <= now), ROWS))
    return found, len(found) == ROWS
