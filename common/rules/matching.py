"""Matches of one map: from a party's wish to play to its being sent somewhere.

    find ─▶ waiting ─▶ offered ─▶ agreed ─▶ made          all have accepted; an instance is there
              ▲           │          │
              └───────────┴──────────┘                    somebody did not, or no instance was to be had
    cancelled, declined, expired: out

A match that fails takes those out who declined, or had not answered in time, with the whole
party of each; the others wait on, as old as they were. Everybody is told by `notices`, and
who missed that asks for `status`.

Time is passed in, in seconds of any one clock. Everything is bounded: tickets by number and by
age, offers by tickets, what is remembered of matches that were made by time and number.

Source: docs/decisions/the-longest-waiting-decides-the-range.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from common.errors import BadField, Conflict, Full, NotFound
from common.rules.queue import Mode, Queue, Teams, Ticket


class MatchLimits(NamedTuple):
    """Bounds.

    Args:
        tickets: that wait or are offered a match.
        wait: seconds a ticket waits at most.
        accept: seconds to accept a match.
        remember: seconds a match that was made can be asked for.
    """

    tickets: int
    wait: float
    accept: float
    remember: float


class Notice(NamedTuple):
    """What some users are to hear."""

    uids: tuple[str, ...]
    told: dict[str, Any]


@dataclass(slots=True, eq=False)
class Match:
    """A match.

    Attributes:
        number: its name.
        teams: parties, by team.
        until: when it must be accepted by all; once it was made: until when it is remembered.
        awaited: who has not accepted yet.
        line: where it is played; "" before it was made.
    """

    number: int
    mode: str
    teams: Teams
    until: float
    awaited: set[str] = field(default_factory=set)
    line: str = ""

    @property
    def tickets(self) -> list[Ticket]:
        """Give all parties."""
        return [ticket for team in self.teams for ticket in team]

    @property
    def uids(self) -> tuple[str, ...]:
        """Give all players."""
        return tuple(uid for ticket in self.tickets for uid in ticket.party)

    @property
    def players(self) -> list[list[str]]:
        """Give the players of each team."""
        return [[uid for ticket in team for uid in ticket.party] for team in self.teams]


@dataclass(slots=True, eq=False)
class Wish:
    """A ticket, its mode, and the match it is offered, if any."""

    mode: str
    ticket: Ticket
    match: Match | None = None


class Matching:
    """Who wants to play what, in one map of one product.

    Args:
        modes: by name.
        map_name: what is told of where a match is played.
        number: the first match's, and the first ticket's; larger than in an earlier life.

    Attributes:
        notices: what is to be told; the owner takes them out.
        agreed: matches all have accepted, for which the owner makes instances: `made` or `failed`.
    """

    def __init__(self, modes: Mapping[str, Mode], map_name: str, limits: MatchLimits, number: int) -> None:
        self._queues = {name: Queue(mode) for name, mode in modes.items()}
        self._map = map_name
        self._limits = limits
        self._number = number
        self._wishes: dict[str, Wish] = {}
        self._offered: dict[int, Match] = {}
        self._made: dict[int, Match] = {}
        self._played: dict[str, Match] = {}
        self._tickets = 0
        self.notices: list[Notice] = []
        self.agreed: list[Match] = []

    def __len__(self) -> int:
        return self._tickets

    # what players say

    def find(self, mode: str, party: Sequence[str], rank: float, now: float) -> dict[str, Any]:
        """Have a party wait for a match; the first of it is who asks. Said again it changes nothing.

        Returns:
            As `status`.

        Raises:
            BadField: no such mode, or the party does not fit into a team; field.
            Conflict: one of them waits already, otherwise; fact `uid`.
            Full: too many wait; fact `limit`.
        """
        queue = self._queues.get(mode)
        if queue is None:
            raise BadField(f"mode is one of {', '.join(self._queues) or 'none'}", field="mode")
        members = tuple(dict.fromkeys(party))
        if not 1 <= len(members) <= queue.mode.size:
            raise BadField(f"a party has 1 to {queue.mode.size} players here", field="party")
        first = self._wishes.get(members[0])
        if first is not None and (first.mode, set(first.ticket.party)) == (mode, set(members)):
            return self.status(members[0], now)
        for uid in members:
            if uid in self._wishes:
                raise Conflict("waits for a match already", uid=uid)
        if self._tickets >= self._limits.tickets:
            raise Full("too many wait for a match", limit=self._limits.tickets)
        wish = Wish(mode, Ticket(now, self._next(), rank, members))
        for uid in members:
            self._wishes[uid] = wish
            self._played.pop(uid, None)
        self._tickets += 1
        queue.add(wish.ticket)
        self._tell(members[1:], state="waiting", by=members[0])
        return self.status(members[0], now)

    def cancel(self, uid: str, now: float) -> None:
        """A player, and so its party, wants no match any more; nothing happens when it did not wait."""
        wish = self._wishes.get(uid)
        if wish is None:
            return
        if wish.match is not None:
            self._break(wish.match, {uid}, "declined")
        else:
            self._queues[wish.mode].remove(wish.ticket)
            self._end(wish.ticket, "cancelled", but=uid)

    def accept(self, uid: str, number: int, yes: bool, now: float) -> dict[str, Any]:
        """Take the match that is offered, or not. Said again it changes nothing.

        Returns:
            As `status`.

        Raises:
            NotFound: it is not offered to this player (any more).
        """
        wish = self._wishes.get(uid)
        match = wish.match if wish is not None else None
        if match is None or match.number != number or (match.until <= now and match.awaited):
            made = self._played.get(uid)
            if made is not None and made.number == number and yes:
                return self.status(uid, now)
            raise NotFound("this match is not offered to you any more", field="match")
        if not yes:
            self._break(match, {uid}, "declined")
        elif uid in match.awaited:
            match.awaited.discard(uid)
            if not match.awaited:
                del self._offered[match.number]
                self.agreed.append(match)
        return self.status(uid, now)

    def status(self, uid: str, now: float) -> dict[str, Any]:
        """Give how it stands with a player: `state` none, waiting, offered, accepted or made, and more."""
        wish = self._wishes.get(uid)
        if wish is None:
            made = self._played.get(uid)
            return {"state": "none"} if made is None else self._place(made)
        match, ticket = wish.match, wish.ticket
        if match is None:
            waited = now - ticket.since
            distance = self._queues[wish.mode].mode.range(waited)
            return {"state": "waiting", "mode": wish.mode, "waited": round(waited, 1), "range": distance}
        state = "offered" if uid in match.awaited else "accepted"
        return self._offer(match, state, now)

    # time

    def step(self, now: float, limit: int) -> bool:
        """Let time pass; make at most so many matches.

        Returns:
            True when there may be more to make at once.
        """
        for match in [each for each in self._offered.values() if each.until <= now]:
            self._break(match, set(match.awaited), "expired")
        for number in [number for number, each in self._made.items() if each.until <= now]:
            self._forget(number)
        more = False
        for name, queue in self._queues.items():
            for ticket in queue.older(now - self._limits.wait):
                queue.remove(ticket)
                self._end(ticket, "expired")
            found = queue.step(now, limit)
            more = more or len(found) == limit
            for teams in found:
                self._begin(Match(self._next(), name, teams, now + self._limits.accept), now)
        return more

    def _begin(self, match: Match, now: float) -> None:
        """Offer a match to all its players."""
        self._offered[match.number] = match
        match.awaited = set(match.uids)
        for uid in match.uids:
            self._wishes[uid].match = match
        self._tell(match.uids, **self._offer(match, "offered", now))

    # what became of those that were agreed

    def made(self, match: Match, line: str, now: float) -> None:
        """An instance is there: all are told where."""
        if self._is_broken(match):
            return
        match.line, match.until = line, now + self._limits.remember
        for ticket in match.tickets:
            self._forget_wishes(ticket)
        self._made[match.number] = match
        self._played.update(dict.fromkeys(match.uids, match))
        if len(self._made) > self._limits.tickets:
            self._forget(next(iter(self._made)))
        self._tell(match.uids, **self._place(match))

    def failed(self, match: Match) -> None:
        """There is no instance to be had: all wait on, as old as they were."""
        if not self._is_broken(match):
            self._break(match, set(), "")

    def _is_broken(self, match: Match) -> bool:
        """Tell whether somebody left it while its instance was made."""
        return self._wishes.get(match.uids[0]) is None or self._wishes[match.uids[0]].match is not match

    def _break(self, match: Match, leaving: set[str], reason: str) -> None:
        """End a match: the parties of those leaving are out, the others wait on."""
        self._offered.pop(match.number, None)
        if match in self.agreed:
            self.agreed.remove(match)
        for ticket in match.tickets:
            if leaving.isdisjoint(ticket.party):
                self._wishes[ticket.party[0]].match = None
                self._queues[match.mode].add(ticket)
                self._tell(ticket.party, state="waiting", match=match.number)
            else:
                self._end(ticket, reason, match=match.number)

    def _end(self, ticket: Ticket, reason: str, but: str = "", **more: Any) -> None:
        self._forget_wishes(ticket)
        told = [uid for uid in ticket.party if uid != but]
        self._tell(told, state="ended", reason=reason, **more)

    def _forget_wishes(self, ticket: Ticket) -> None:
        self._tickets -= 1
        for uid in ticket.party:
            del self._wishes[uid]

    def _forget(self, number: int) -> None:
        match = self._made.pop(number)
        for uid in match.uids:
            if self._played.get(uid) is match:
                del self._played[uid]

    def _offer(self, match: Match, state: str, now: float) -> dict[str, Any]:
        within = max(0.0, round(match.until - now, 1))
        return {"state": state, "match": match.number, "mode": match.mode, "within": within}

    def _place(self, match: Match) -> dict[str, Any]:
        return {
            "state": "made",
            "match": match.number,
            "mode": match.mode,
            "map": self._map,
            "line": match.line,
            "teams": match.players,
        }

    def _tell(self, uids: Iterable[str], **told: Any) -> None:
        listeners = tuple(uids)
        if listeners:
            self.notices.append(Notice(listeners, told))

    def _next(self) -> int:
        self._number += 1
        return self._number
