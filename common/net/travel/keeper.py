"""The players of one world process, as storage has them: claimed, saved, moved, let go.

    enter ─▶ looked up ─▶ claimed ─▶ came         or refused: held elsewhere, storage away
    move, leave ─▶ stored with the state ─▶ ended  or given up ─▶ thawed
    each save_every, spread ─▶ saved               or again soon; lost: ended

One greenlet carries everything, in batches; so a save and a change of one player are
never under way together. A call without an answer is repeated, and what was not
confirmed is not told to anybody.

Source: docs/storage.md, section 5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from common.errors import RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.log import Doubling
from common.net.log import get as get_log
from common.net.travel.claims import CLAIM, KEEP, LEAVE, MOVE, Came, Ended, Job, Logic, Refuse, due
from common.net.travel.entrance import Entrance, Times
from common.net.travel.saves import Done, Saves
from common.rules.route import NOT_OWNER, STALE, UNAVAILABLE, Answer, Change, State
from common.rules.stay import DOUBT, LEAVING, MOVING, Stay

MOVE_SECONDS = 4.0
"""How long the commit of a move is tried before it is given up."""
TURN = 0.1


class Keeper:
    """Keeps storage and the players of this process together.

    Args:
        dbservers: the store.
        logic: the map's side.
        owner: gives "name incarnation term" of the present lease.
        stands: tells how a recorded owner stands to this process (common/rules/owner.py).
        linkdead: seconds a player stays without a connection.
        save_every: seconds between two saves of a player.
        clock: monotonic seconds.

    Attributes:
        stays: user -> stay, of all that are not GONE; those ENTERING are not in it.
    """

    def __init__(
        self,
        dbservers: Dbservers,
        logic: Logic,
        owner: Callable[[], str],
        stands: Callable[[str], str],
        linkdead: float = 30.0,
        save_every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dbservers = dbservers
        self._logic = logic
        self._owner = owner
        self._clock = clock
        self.stays: dict[str, Stay] = {}
        self._jobs: dict[str, Job] = {}
        times = Times(linkdead, save_every)
        self._entrance = Entrance(self, dbservers, owner, stands, times, clock)
        self._saves = Saves(self.stays, logic, self._ask, self.lose, clock)
        self._changes = 0
        self._wake = Event()
        self._fenced = Doubling()
        self._log = get_log()

    # what the world asks for; none of it switches greenlets

    def enter(self, user: str, place: str, came: Came, refuse: Refuse, ours_only: bool = False) -> None:
        """Have a player come in: `came(stay, record)`, or `refuse(why)` within about ENTER_SECONDS.

        A player that is here already comes as it is, with an empty record; one that is leaving
        comes back. An earlier `enter` of the same player is refused.

        Refused with Conflict (facts `owner`, `place`): it is in another map, or on its way there.
        """
        stay = self.stays.get(user)
        if stay is not None:
            stay.back()
            if stay.state == LEAVING:
                self.give_up(stay)
        self._entrance.enter(user, place, came, refuse, ours_only)
        self._wake.set()

    def leave(self, stay: Stay, ended: Ended | None = None) -> None:
        """Store a live player and let it go; `ended(stay)` when it is gone, or back. It is frozen meanwhile.

        Tried until storage answers: what it was is not lost while Redis is away.
        """
        self._freeze(stay, LEAVING)
        self._with_state(LEAVE, stay, "", stay.place, float("inf"), ended)

    def freeze(self, stay: Stay) -> None:
        """Begin a move: nothing changes the player until `move`, or `give_up`."""
        self._freeze(stay, MOVING)

    def move(self, stay: Stay, to_owner: str, to_place: str, ended: Ended) -> None:
        """Commit a move of a frozen player; `ended(stay)`: GONE, or live again when it did not take place.

        Raises:
            Unavailable: the process was fenced since `freeze`; nothing was sent.
        """
        if stay.state != MOVING:
            raise Unavailable("the player is not frozen for a move any more")
        self._with_state(MOVE, stay, to_owner, to_place, self._clock() + MOVE_SECONDS, ended)

    def give_up(self, stay: Stay) -> None:
        """Have a leaving or moving player go on: at once if nothing was sent, else when storage says so."""
        job = self._jobs.get(stay.user)
        if job is not None and job.kind == KEEP:
            return
        if job is not None and job.may_be_stored:
            job.given_up = True
            job.retry_at = 0.0
            self._wake.set()
        elif stay.state in (LEAVING, MOVING):
            self._thaw(stay, job)

    def save(self, stay: Stay, done: Done) -> None:
        """Save a live player now; `done(True)` once what it is at this moment, or later, is stored."""
        self._saves.want(stay, done)
        self._wake.set()

    def fenced(self) -> None:
        """The term has gone up: no player is trusted until storage says that nobody had it meanwhile."""
        for stay in list(self.stays.values()):
            job = self._jobs.get(stay.user)
            if job is None:
                self._doubt(stay)
            elif job.kind != KEEP:
                job.given_up = job.doubt = True
        self._wake.set()

    def close(self, seconds: float) -> list[str]:
        """Let everybody go; give who could not be stored in time. `run` must go on meanwhile."""
        for stay in list(self.stays.values()):
            if stay.live:
                self.leave(stay)
        until = self._clock() + seconds
        while self.stays and self._clock() < until:
            gevent.sleep(TURN)
        return sorted(self.stays)

    # what the entrance and the saves ask for

    def begin(self, job: Job) -> None:
        """Have a claim carried out."""
        self._jobs[job.user] = job

    def is_claiming(self, user: str) -> bool:
        """Tell whether a claim is on its way."""
        return user in self._jobs

    def lose(self, stay: Stay) -> None:
        """Another owner has the player."""
        self._end(stay, "lost")

    def next_id(self) -> str:
        """Give the id of a new change."""
        self._changes += 1
        return f"{self._owner()} {self._changes}"

    def wake(self) -> None:
        """Have the next step come at once."""
        self._wake.set()

    # the greenlet

    def run(self) -> None:
        """Carry what is due, for ever."""
        while True:
            self._wake.wait(TURN)
            self._wake.clear()
            self.step()

    def step(self) -> None:
        """Look up who is to come in, change owners, save who is due, let go who was linkdead for long."""
        now = self._clock()
        for stay in [stay for stay in self.stays.values() if stay.expired(now)]:
            self.leave(stay)
        more = self._entrance.step()
        more = self._carry_out() or more
        more = self._saves.step() or more
        if more:
            self._wake.set()

    def _carry_out(self) -> bool:
        """Send the changes of owners that are due; True when more may be due."""
        owner = self._owner()
        for job in list(self._jobs.values()):
            self._prepare(job)
        jobs, more = due(self._jobs, self._clock())
        if not jobs:
            return False
        for job in jobs:
            job.under_way = True
            if job.kind in (CLAIM, KEEP):
                job.change = job.change._replace(to_owner=owner)
        answers = self._ask("player_change", [job.change for job in jobs])
        for job, answer in zip(jobs, answers, strict=True):
            job.under_way = False
            if isinstance(answer, RequestError):
                job.failed(self._clock(), not isinstance(answer, Unavailable))
            else:
                self._changed(job, answer)
        return more

    def _prepare(self, job: Job) -> None:
        """Give up what took too long, or shall not happen any more."""
        if job.kind == CLAIM:
            if self._entrance.is_over(job):
                del self._jobs[job.user]
            return
        if job.kind == MOVE and self._clock() > job.until:
            job.given_up = True
        if not job.given_up:
            return
        if job.may_be_stored:
            self._jobs[job.user] = job.keep(self.next_id())
        else:
            self._thaw(job.stay, job)

    def _changed(self, job: Job, answer: Answer) -> None:
        """A change has an answer."""
        if answer.status == UNAVAILABLE:
            job.failed(self._clock(), False)
        elif answer.status == STALE and job.change.state is not None:
            number = job.stay.save_ver = answer.save_ver + 1
            job.change = job.change._replace(state=job.change.state._replace(save_ver=number))
        elif job.kind == CLAIM:
            del self._jobs[job.user]
            self._entrance.claimed(job, answer)
        elif answer.status == NOT_OWNER:
            self._end(job.stay, job.fate(answer))
        elif job.kind == KEEP:
            self._kept(job, answer)
        else:
            self._end(job.stay, "left" if job.kind == LEAVE else "moved")

    def _kept(self, job: Job, answer: Answer) -> None:
        """The doubt is over: the player is ours, and what it follows did not happen."""
        stay = job.stay
        if answer.owner != self._owner():
            change = job.change._replace(owner=answer.owner, route_ver=answer.route_ver, id=self.next_id())
            self._jobs[stay.user] = Job(KEEP, stay, change, ended=job.ended)
            self._wake.set()
            return
        stay.owner, stay.route_ver = answer.owner, answer.route_ver
        stay.save_ver = max(stay.save_ver, answer.save_ver)
        self._thaw(stay, job)

    # small steps

    def _ask(self, method: str, rows: list[Any]) -> list[Answer | RequestError]:
        """Call a dbserver; give an answer for each row, or why there is none."""
        try:
            return [Answer(*row) for row in self._dbservers.call(method, [list(row) for row in rows])]
        except RequestError as error:
            return [error] * len(rows)

    def _with_state(
        self, kind: str, stay: Stay, to_owner: str, to_place: str, until: float, ended: Ended | None
    ) -> None:
        """Queue a change that stores what the player is now."""
        blob = self._saves.snapshot(stay)
        stay.save_ver += 1
        state = None if blob is None else State(stay.save_ver, stay.input, blob)
        change = Change(stay.user, self.next_id(), stay.owner, stay.route_ver, to_owner, to_place, state)
        self._jobs[stay.user] = Job(kind, stay, change, until, ended)
        self._wake.set()

    def _doubt(self, stay: Stay) -> None:
        """Ask storage whether a player is still ours."""
        self._freeze(stay, DOUBT)
        change = Change(stay.user, self.next_id(), stay.owner, stay.route_ver, "", stay.place)
        self._jobs[stay.user] = Job(KEEP, stay, change)

    def _freeze(self, stay: Stay, state: str) -> None:
        was_live = stay.live
        stay.freeze(state)
        if was_live:
            self._logic.frozen(stay)

    def _thaw(self, stay: Stay, job: Job | None) -> None:
        self._jobs.pop(stay.user, None)
        stay.thaw(self._clock())
        self._logic.thawed(stay)
        if job is not None and job.ended is not None:
            job.ended(stay)

    def _end(self, stay: Stay, reason: str) -> None:
        """A player is not here any more."""
        job = self._jobs.pop(stay.user, None)
        if self.stays.get(stay.user) is stay:
            del self.stays[stay.user]
        stay.end(reason)
        if reason == "lost" and self._fenced.hit():
            self._log.error("player has another owner", user=stay.user, count=self._fenced.count)
        self._saves.ended(stay)
        self._logic.ended(stay)
        if job is not None and job.ended is not None:
            job.ended(stay)
