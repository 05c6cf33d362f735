"""Players coming into one world process: looked up, claimed as they were found, and in.

    enter ─▶ player_load ─▶ held elsewhere: refused
                         ─▶ a claim of (owner, route_ver) as read ─▶ ok: came
                                                 ▲               ─▶ saved in between: read again, came
                                                 └─ changed in between: looked up anew

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from common.errors import Conflict, DeadlineExceeded, Internal, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.travel.claims import CLAIM, Came, Entry, Job, Refuse, due
from common.rules.owner import HELD, NEWER, OURS
from common.rules.route import OK, Answer, Change, Record
from common.rules.stay import Stay

ENTER_SECONDS = 6.0
"""How long an `enter` is tried; shorter than a client waits for its answer."""
AGAIN = 0.1
"""Seconds after which a player that is being stored is looked at again."""


class Times(NamedTuple):
    """Seconds a player stays without a connection, and between two saves."""

    linkdead: float
    save_every: float


class Changes(Protocol):
    """What the entrance asks of the keeper."""

    stays: dict[str, Stay]

    def begin(self, job: Job) -> None:
        """Have a claim carried out."""

    def is_claiming(self, user: str) -> bool:
        """Tell whether a claim is on its way."""

    def lose(self, stay: Stay) -> None:
        """Another owner has the player."""

    def next_id(self) -> str:
        """Give the id of a new change."""

    def wake(self) -> None:
        """Have the next step come at once."""


class Entrance:
    """Who is to come in.

    Args:
        changes: the keeper.
        dbservers: the store.
        owner, stands, clock: as of the keeper.
    """

    def __init__(
        self,
        changes: Changes,
        dbservers: Dbservers,
        owner: Callable[[], str],
        stands: Callable[[str], str],
        times: Times,
        clock: Callable[[], float],
    ) -> None:
        self._changes = changes
        self._dbservers = dbservers
        self._owner = owner
        self._stands = stands
        self._times = times
        self._clock = clock
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, user: str, place: str, came: Came, refuse: Refuse, ours_only: bool) -> None:
        """Begin; an earlier `enter` of the same player is refused, but not for one that is `ours_only`."""
        before = self._entries.get(user)
        if before is not None and ours_only:
            refuse(Unavailable("the player is coming in already"))
            return
        if before is not None:
            del self._entries[user]
            before.refuse(Conflict("the player was entered again"))
        self._entries[user] = Entry(user, place, came, refuse, self._clock() + ENTER_SECONDS, ours_only)

    def step(self) -> bool:
        """Look up who is due; True when more may be due. Switches greenlets."""
        entries, more = due(self._entries, self._clock())
        asked = [entry for entry in entries if self._may_look(entry)]
        if not asked:
            return more
        try:
            found: list[Any] = self._dbservers.call("player_load", [entry.user for entry in asked])
        except RequestError as error:
            for entry in asked:
                self._later(entry, error)
            return more
        for entry, row in zip(asked, found, strict=True):
            if self._entries.get(entry.user) is entry:
                self._found(entry, Record(*row))
        return more

    def is_over(self, job: Job) -> bool:
        """Tell whether nobody waits for a claim any more; refuses who has waited too long."""
        entry = self._entries.get(job.user)
        if entry is not None and self._clock() > entry.until:
            self._refuse(entry, Unavailable("storage is away"))
            return True
        return entry is None

    def claimed(self, job: Job, answer: Answer) -> None:
        """A claim has an answer: the player is in, its state is read again, or all begins anew."""
        entry = self._entries.get(job.user)
        if entry is None:
            return
        entry.retry_at, entry.stay = 0.0, None
        self._changes.wake()
        if (answer.status, answer.owner, answer.place) != (OK, self._owner(), entry.place):
            return
        job.stay.owner, job.stay.route_ver = answer.owner, answer.route_ver
        if answer.save_ver == entry.record.save_ver:
            self._came(entry, job.stay)
        else:
            entry.stay = job.stay

    def _may_look(self, entry: Entry) -> bool:
        """Tell whether an entry is to be looked up; the player that is here comes without."""
        stay, now = self._changes.stays.get(entry.user), self._clock()
        if stay is None and self._changes.is_claiming(entry.user):
            entry.retry_at = float("inf")
        elif stay is None or (stay.live and entry.ours_only):
            return True
        elif stay.live:
            del self._entries[entry.user]
            entry.came(stay, Record())
        elif now > entry.until:
            self._refuse(entry, Unavailable("the player is being stored"))
        else:
            entry.retry_at = now + AGAIN
        return False

    def _found(self, entry: Entry, record: Record) -> None:
        """Claim a player, or refuse it; one claimed already whose state is read now is in."""
        claimed, stay = entry.stay, self._changes.stays.get(entry.user)
        if claimed is not None and (record.owner, record.route_ver) == (self._owner(), claimed.route_ver):
            entry.record = record
            self._came(entry, claimed)
            return
        if stay is not None:
            if (record.owner, record.route_ver) == (stay.owner, stay.route_ver):
                del self._entries[entry.user]
                entry.came(stay, Record())
                return
            self._changes.lose(stay)
        verdict = self._stands(record.owner)
        if verdict in (HELD, NEWER) or (entry.ours_only and verdict != OURS):
            elsewhere = {"owner": record.owner, "place": record.place}
            self._refuse(entry, Conflict("the player is in another map", **elsewhere))
            return
        entry.record, entry.stay, entry.retry_at = record, None, float("inf")
        stay = Stay(entry.user, entry.place, *self._times)
        change = Change(entry.user, self._changes.next_id(), record.owner, record.route_ver, "", entry.place)
        self._changes.begin(Job(CLAIM, stay, change))

    def _came(self, entry: Entry, stay: Stay) -> None:
        del self._entries[entry.user]
        record = entry.record
        stay.claimed(stay.owner, stay.route_ver, record.save_ver, record.input, self._clock())
        self._changes.stays[entry.user] = stay
        entry.came(stay, record)

    def _later(self, entry: Entry, error: RequestError) -> None:
        """A look-up failed: again, or refused when it took too long."""
        entry.failed(self._clock(), isinstance(error, DeadlineExceeded | Internal))
        if self._entries.get(entry.user) is entry and self._clock() > entry.until:
            self._refuse(entry, Unavailable(f"storage is away: {error.message}"))

    def _refuse(self, entry: Entry, why: RequestError) -> None:
        self._entries.pop(entry.user, None)
        stay = self._changes.stays.get(entry.user)
        if stay is not None and stay.frozen:
            stay.lost(self._clock())
        entry.refuse(why)
