"""A model of clients, gateways and links around the rules of presence.

Each gateway speaks to the session through a stream that is delivered later, in order.
The session is restarted with everything lost; gateways die, are born again, or are cut
off for so long that they are called gone while their clients stay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from common.errors import Conflict, Full, RequestError, Unauthorized, Unavailable
from common.rules.devices import Limits
from common.rules.gateways import Gateway
from common.rules.presence import Presence

OFFLINE_TICKS = 3
GONE_TICKS = 4
LIMITS = Limits(
    policies={"one": "newest", "shy": "refuse"},
    devices=2,
    offline_ticks=OFFLINE_TICKS,
    online_ticks=5,
    gone_ticks=GONE_TICKS,
    closed_ticks=10_000,
)
NAMES = ("gateway-0", "gateway-1")
USERS = ("any/ann", "one/ann", "shy/ann")
DEVICES = {"a": "phone", "b": "web", "c": "phone"}

gateways = st.sampled_from(NAMES)
users = st.sampled_from(USERS)
devices = st.sampled_from(sorted(DEVICES))


def pick(of: Iterable[Any], which: int) -> Any:
    """Give one of some things, by a number of any size."""
    found = sorted(of)
    return found[which % len(found)]


class GatewayModel:
    """One gateway as it is: what it holds, what is on its way to the session."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lives = 0
        self.alive = True
        self.linked = False
        self.held: dict[int, tuple[str, str, int, int]] = {}
        self.pending: set[int] = set()
        self.watched: set[str] = set()
        self.told: dict[str, Any] = {}
        self.out: deque[tuple[Any, ...]] = deque()
        self.opens: list[tuple[Any, ...]] = []

    @property
    def incarnation(self) -> str:
        return f"{self.lives:04d}"

    def link(self) -> None:
        """A new stream: what was under way is lost, all is announced, in slices."""
        self.linked = True
        self.cut()
        entries = [[conn, u, d, DEVICES[d], epoch, since] for conn, (u, d, epoch, since) in self.held.items()]
        middle = len(entries) // 2
        self.out.append(("announce", entries[:middle], True, False))
        self.out.append(("announce", entries[middle:], False, True))
        self.out.append(("watches", sorted(self.watched), True, True))

    def cut(self) -> None:
        self.out.clear()
        self.pending.clear()
        self.opens.clear()  # a repeat comes in the same stream; links drop what an older one carried


class PresenceModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.conns = 0
        self.models = {name: GatewayModel(name) for name in NAMES}
        self.newest: dict[tuple[str, str], int] = {}
        self.restart()
        for model in self.models.values():
            self.relink(model)

    # what happens

    @rule(name=gateways, what=st.sampled_from(["restart", "flap", "cut_off", "heal", "die", "be_born"]))
    def misfortune(self, name: str, what: str) -> None:
        getattr(self, what)(self.models[name])

    def restart(self, _: GatewayModel | None = None) -> None:
        """The session process starts with nothing, a moment later: login epochs follow the clock."""
        self.now += 1
        self.presence = Presence(NAMES, LIMITS)
        self.ended: dict[tuple[str, str], int] = {}
        self.session_watches: dict[str, set[str]] = {name: set() for name in NAMES}
        for model in self.models.values():
            self.flap(model)

    def flap(self, model: GatewayModel) -> None:
        if model.linked:
            self.relink(model)

    def relink(self, model: GatewayModel) -> None:
        model.link()
        self.presence.back(model.name)

    def cut_off(self, model: GatewayModel) -> None:
        model.linked = False
        model.cut()

    def heal(self, model: GatewayModel) -> None:
        if model.alive and not model.linked:
            self.relink(model)

    def die(self, model: GatewayModel) -> None:
        model.alive = False
        self.cut_off(model)
        model.held.clear()
        model.told.clear()
        model.watched.clear()

    def be_born(self, model: GatewayModel) -> None:
        if not model.alive:
            model.alive = True
            model.lives += 1
            self.relink(model)

    @rule(name=gateways, user=users, device=devices, at_once=st.booleans())
    def log_in(self, name: str, user: str, device: str, at_once: bool) -> None:
        self.send_open(self.models[name], user, device, 0, at_once)

    @precondition(lambda self: self.newest)
    @rule(name=gateways, which=st.integers(0), older=st.booleans())
    def resume(self, name: str, which: int, older: bool) -> None:
        (user, device), epoch = pick(self.newest.items(), which)
        self.send_open(self.models[name], user, device, epoch - older, True)

    def send_open(
        self, model: GatewayModel, user: str, device: str, resume_epoch: int, at_once: bool
    ) -> None:
        if model.linked:
            self.conns += 1
            model.pending.add(self.conns)
            self.send(model, at_once, "open", self.conns, user, device, resume_epoch)

    def send(self, model: GatewayModel, at_once: bool, *item: Any) -> None:
        if model.linked:
            model.out.append(item)
        if at_once:
            self.deliver(model.name, 100)

    @precondition(lambda self: any(model.held for model in self.models.values()))
    @rule(which=st.integers(0), bye=st.booleans(), at_once=st.booleans())
    def hang_up(self, which: int, bye: bool, at_once: bool) -> None:
        name, conn = pick([(m.name, conn) for m in self.models.values() for conn in m.held], which)
        self.drop(self.models[name], conn, bye, at_once)

    @precondition(lambda self: any(model.pending for model in self.models.values()))
    @rule(which=st.integers(0))
    def give_up_waiting(self, which: int) -> None:
        name, conn = pick([(m.name, conn) for m in self.models.values() for conn in m.pending], which)
        self.models[name].pending.discard(conn)
        self.send(self.models[name], False, "close", conn, "", "", 0, False)

    def drop(self, model: GatewayModel, conn: int, bye: bool, at_once: bool = False) -> None:
        user, device, epoch, _ = model.held.pop(conn)
        self.send(model, at_once, "close", conn, user, device, epoch, bye)

    @rule(name=gateways, user=users, at_once=st.booleans())
    def watch_or_stop(self, name: str, user: str, at_once: bool) -> None:
        model = self.models[name]
        if not model.alive:
            return
        off = user in model.watched
        (model.watched.discard if off else model.watched.add)(user)
        model.told.pop(user, None)
        self.send(model, at_once, "watch", [user], off)

    @precondition(lambda self: any(model.opens for model in self.models.values()))
    @rule(which=st.integers(0))
    def repeat_an_open(self, which: int) -> None:
        """What was answered once arrives again, whatever has become of it."""
        name, index = pick([(m.name, i) for m in self.models.values() for i in range(len(m.opens))], which)
        model = self.models[name]
        conn, user, device, resume_epoch = model.opens[index]
        gateway = self.meet(model)
        stands = conn in gateway.connections
        before = self.all_logins()
        try:
            opened = self.presence.open(gateway, conn, user, device, DEVICES[device], resume_epoch, self.now)
        except Conflict:
            assert not stands
        else:
            assert stands and not opened.kicks
        assert self.all_logins() == before

    @rule(name=gateways, count=st.integers(1, 4))
    def deliver(self, name: str, count: int) -> None:
        model = self.models[name]
        for _ in range(min(count, len(model.out))):
            kind, *rest = model.out.popleft()
            gateway = self.meet(model)
            getattr(self, f"take_{kind}")(model, gateway, *rest)

    @rule(turns=st.integers(1, 3))
    def pass_time(self, turns: int) -> None:
        for _ in range(turns):
            self.now += 1_000
            for model in self.models.values():
                if model.linked:
                    self.presence.gateways.heard(model.name, self.presence.ticks)
            for name in self.presence.tick(self.now):
                assert not self.models[name].linked
                self.session_watches[name] = set()
            self.tell()

    # the session's end

    def meet(self, model: GatewayModel) -> Gateway:
        known = self.presence.gateways.get(model.name)
        assert known is not None
        if known.incarnation != model.incarnation:
            self.session_watches[model.name] = set()
        gateway = self.presence.meet(model.name, model.incarnation, self.now)
        assert gateway is not None
        return gateway

    def take_open(
        self, model: GatewayModel, gateway: Gateway, conn: int, user: str, device: str, resume: int
    ) -> None:
        over = resume and resume <= self.ended.get((user, device), 0)
        try:
            opened = self.presence.open(gateway, conn, user, device, DEVICES[device], resume, self.now)
        except Unauthorized:
            assert over
            model.pending.discard(conn)
            return
        except RequestError as error:
            self.check_refusal(error, user, device)
            model.pending.discard(conn)
            return
        assert not over
        assert opened.epoch > self.newest.get((user, device), 0)
        self.newest[user, device] = opened.epoch
        model.opens.append((conn, user, device, resume))
        if conn in model.pending:
            model.pending.discard(conn)
            model.held[conn] = (user, device, opened.epoch, opened.since)
        self.apply_kicks(opened.kicks)

    def check_refusal(self, error: RequestError, user: str, device: str) -> None:
        others = [x for x in self.presence.users[user].logins if x.gateway] if self.online(user) else []
        if isinstance(error, Conflict):
            assert user == "shy/ann" and any(x.device != device for x in others)
        elif isinstance(error, Full):
            assert len([x for x in others if x.device != device]) == LIMITS.devices
        else:
            assert isinstance(error, Unavailable)
            assert not user.startswith("any/") and not self.presence.known

    def apply_kicks(self, kicks: list[Any]) -> None:
        for name, conn, epoch, code in kicks:
            model = self.models[name]
            held = model.held.get(conn)
            if held is None or not model.linked:
                continue
            user, device = held[:2]
            assert held[2] == epoch
            assert epoch < self.newest[user, device] if code == "replaced" else not user.startswith("any/")
            self.drop(model, conn, False)

    def take_close(self, model: GatewayModel, gateway: Gateway, *args: Any) -> None:
        conn, user, device, epoch, bye = args
        if bye:
            self.ended[user, device] = max(epoch, self.ended.get((user, device), 0))
        self.presence.close(gateway, conn, user, device, epoch, bye, self.now)

    def take_announce(
        self, model: GatewayModel, gateway: Gateway, entries: list[Any], first: bool, last: bool
    ) -> None:
        stale, kicks = self.presence.announce(gateway, entries, first, last, self.now)
        for conn in stale:
            if conn in model.held:
                user, device, epoch, _ = model.held[conn]
                assert epoch < self.newest[user, device] or not user.startswith("any/")
                self.drop(model, conn, False)
        self.apply_kicks(kicks)

    def take_watch(self, model: GatewayModel, gateway: Gateway, named: list[str], off: bool) -> None:
        self.presence.watch(gateway, named, off)
        watches = self.session_watches[model.name]
        if off:
            watches.difference_update(named)
            return
        watches.update(named)
        for user, view in self.presence.where(gateway, named):
            if user in model.watched:
                model.told[user] = view

    def take_watches(
        self, model: GatewayModel, gateway: Gateway, named: list[str], first: bool, last: bool
    ) -> None:
        self.presence.watches.renew(gateway.name, named, first, last)
        self.session_watches[model.name] = set(named)

    def tell(self) -> None:
        for model in self.models.values():
            if not model.linked:
                continue
            for user, view in self.presence.changes(model.name, 100):
                assert user in self.session_watches[model.name], "told of somebody it does not watch"
                assert view.online is not None
                assert view == self.presence.view(user)
                if user in model.watched:
                    model.told[user] = view

    def all_logins(self) -> list[Any]:
        return [
            (user, x.device, x.epoch, x.conn, x.gateway)
            for user, entry in self.presence.users.items()
            for x in entry.logins
        ]

    def online(self, user: str) -> bool | None:
        return self.presence.view(user).online

    # what must hold

    @invariant()
    def who_is_connected_is_never_offline(self) -> None:
        for model in self.models.values():
            if model.linked:
                for user, *_ in model.held.values():
                    assert self.online(user) is not False, user

    @invariant()
    def unknown_never_reads_as_offline(self) -> None:
        never_heard = [g.name for g in self.presence.gateways if not g.incarnation and not g.gone]
        if never_heard:
            assert all(self.online(user) is not False for user in USERS)

    @invariant()
    def logins_and_connections_agree(self) -> None:
        held = {id(x) for g in self.presence.gateways for x in g.connections.values()}
        placed = {id(x) for e in self.presence.users.values() for x in e.logins if x.gateway is not None}
        assert held == placed
        for user, entry in self.presence.users.items():
            assert entry.logins
            names = [login.device for login in entry.logins]
            assert len(names) == len(set(names)) <= LIMITS.devices
            assert all(login.user is entry.logins[0].user or login.user == user for login in entry.logins)

    @rule()
    def come_to_rest(self) -> None:
        """All is delivered, time passes: session, gateways and watchers must agree on the truth."""
        for model in self.models.values():
            if model.alive and not model.linked:
                self.relink(model)
        for _ in range(GONE_TICKS + 2 * OFFLINE_TICKS + 6):
            while any(model.out for model in self.models.values()):
                for name in NAMES:
                    self.deliver(name, 100)
            self.pass_time(1)
        assert self.presence.known
        self.check_session()
        self.check_watchers()

    def teardown(self) -> None:
        self.come_to_rest()

    def check_session(self) -> None:
        truth: dict[str, dict[str, int]] = {user: {} for user in USERS}
        for model in self.models.values():
            for user, device, epoch, _ in model.held.values():
                assert device not in truth[user], "one device is connected twice"
                truth[user][device] = epoch
        for user, epochs in truth.items():
            view = self.presence.view(user)
            assert view.online is bool(epochs)
            assert view.devices == [[device, DEVICES[device]] for device in sorted(epochs)]
            if user in self.presence.users:
                logins = self.presence.users[user].logins
                assert {login.device: login.epoch for login in logins} == epochs

    def check_watchers(self) -> None:
        for model in self.models.values():
            assert {user: view[:2] for user, view in model.told.items()} == {
                user: self.presence.view(user)[:2] for user in model.watched
            }


PresenceModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
)
test_random_histories_end_in_the_truth = PresenceModel.TestCase
