"""Players at random around the rules of matchmaking, with what they must never see."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.errors import Conflict, Full, NotFound
from common.rules.matching import Match, Matching, MatchLimits
from common.rules.queue import Mode

NAMES = [f"u{n}" for n in range(6)]
MODES = {"duel": Mode(2, 1, 40, 10, 100), "pairs": Mode(2, 2, 40, 10, 100)}
LIMITS = MatchLimits(tickets=4, wait=60.0, accept=5.0, remember=8.0)

uids = st.sampled_from(NAMES)
ranks = st.sampled_from([0, 30, 60, 120])


class MatchingModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.matching = Matching(MODES, "arena", LIMITS, 0)
        self.parties: dict[str, frozenset[str]] = {}
        self.believes = dict.fromkeys(NAMES, "none")
        self.making: list[Match] = []
        self.numbers: set[int] = set()

    def hear(self) -> None:
        """Take the notices as clients do, in order."""
        for told, what in self.matching.notices:
            for uid in told:
                state = what["state"]
                if state == "offered":
                    self.numbers.add(what["match"])
                    assert self.believes[uid] == "waiting", "one match at a time"
                if state == "made":
                    teams = what["teams"]
                    mode = MODES[what["mode"]]
                    assert [len(team) for team in teams] == [mode.size] * mode.teams
                    assert len({each for team in teams for each in team}) == mode.players
                    together = next(team for team in teams if uid in team)
                    assert self.parties[uid] <= set(together), "parties stay together"
                self.believes[uid] = {"ended": "none", "offered": "offered"}.get(state, state)
        self.matching.notices.clear()

    @rule(
        party=st.lists(uids, min_size=1, max_size=2, unique=True),
        mode=st.sampled_from(sorted(MODES)),
        rank=ranks,
    )
    def find(self, party: list[str], mode: str, rank: int) -> None:
        if len(party) > MODES[mode].size:
            party = party[:1]
        try:
            state = self.matching.find(mode, party, rank, self.now)["state"]
        except (Conflict, Full):
            return
        self.hear()
        if state == "waiting":
            for uid in party:
                self.parties[uid] = frozenset(party)
                self.believes[uid] = "waiting"

    @rule(uid=uids)
    def cancel(self, uid: str) -> None:
        self.matching.cancel(uid, self.now)
        self.hear()
        if self.believes[uid] != "made":
            self.believes[uid] = "none"

    @rule(uid=uids, yes=st.sampled_from([True, True, True, False]))
    def accept(self, uid: str, yes: bool) -> None:
        number = self.matching.status(uid, self.now).get("match", 0)
        try:
            self.matching.accept(uid, number, yes, self.now)
        except NotFound:
            return
        self.hear()
        if self.believes[uid] == "offered":
            self.believes[uid] = "accepted"

    @rule()
    def all_accept(self) -> None:
        for uid in NAMES:
            self.accept(uid, True)

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 9.0]), limit=st.integers(1, 5))
    def step(self, seconds: float, limit: int) -> None:
        self.now += seconds
        self.matching.step(self.now, limit)
        self.hear()

    @rule()
    def begin_instance(self) -> None:
        self.making += self.matching.agreed
        self.matching.agreed.clear()

    @rule(works=st.booleans())
    def end_instance(self, works: bool) -> None:
        if self.making:
            match = self.making.pop(0)
            if works:
                self.matching.made(match, "0:1", self.now)
            else:
                self.matching.failed(match)
            self.hear()

    @invariant()
    def what_clients_heard_is_how_it_is(self) -> None:
        for uid, believed in self.believes.items():
            state = self.matching.status(uid, self.now)["state"]
            if believed == "made":
                assert state in ("made", "none")
            else:
                assert state == believed, uid

    @invariant()
    def it_is_bounded(self) -> None:
        assert len(self.matching) <= LIMITS.tickets

    def teardown(self) -> None:
        """Left alone everything ends: nobody waits, nothing is remembered."""
        self.begin_instance()
        while self.making:
            self.end_instance(True)
        for _ in range(20):
            self.step(9.0, 5)
        assert len(self.matching) == 0
        assert not any(vars(self.matching)[name] for name in ("_wishes", "_offered", "_made", "_played"))


TestMatchingModel = MatchingModel.TestCase
TestMatchingModel.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
