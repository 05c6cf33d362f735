"""The users of one session process with gateways that only remember, and a store that answers as told."""

from __future__ import annotations

from typing import Any

from common.net.metrics import Metrics
from common.net.register.calls import CALLS, Register
from common.net.register.post import Post
from common.places import Places
from common.rules.devices import Limits, Login
from common.rules.gateways import Gateway
from common.rules.presence import Presence
from common.settings import Cluster, Settings
from tests.common.net.hall.recording import RecordingLinks

ANN, BOB = "demo/ann", "demo/bob"
NOW = 1_700_000_000_000
NAMES = ("gateway-0", "gateway-1")


class FakeDbservers:
    """Gives what `answers` has for a method, or raises it; remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {}

    def call(self, method: str, *args: Any, timeout: float | None = None) -> Any:
        self.calls.append((method, args))
        answer = self.answers[method]
        if callable(answer):
            answer = answer(*args)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Scene:
    """A Register whose two gateways have announced themselves, unless told otherwise."""

    def __init__(self, announced: bool = True, sessions: int = 1) -> None:
        self.links, self.dbservers = RecordingLinks(), FakeDbservers()
        self.metrics = Metrics("session-0")
        self.counters = self.metrics.counters
        self.presence = Presence(NAMES, Limits({}))
        self.post = Post(self.links, self.counters)  # type: ignore[arg-type]
        self.register = Register(
            "session-0",
            Places(Settings(cluster=Cluster(sessions=sessions))),
            self.presence,
            self.post,
            self.dbservers,  # type: ignore[arg-type]
            60.0,
            self.counters,
        )
        self.gateways: dict[str, Gateway] = {}
        for name in NAMES:
            gateway = self.presence.meet(name, "a", NOW)
            assert gateway is not None
            self.gateways[name] = gateway
            if announced:
                self.presence.announce(gateway, [], True, True, NOW)

    def log_in(self, name: str, conn: int, user: str = ANN, device: str = "p", *tags: str) -> Login:
        """Log a device in; give its login."""
        self.presence.open(self.gateways[name], conn, user, device, "phone", 0, NOW, tags)
        return self.gateways[name].connections[conn]

    def log_out(self, login: Login) -> None:
        """End a connection."""
        assert login.gateway is not None
        self.presence.close(login.gateway, login.conn, login.user, login.device, login.epoch, False, NOW)

    def announce(self, name: str, *entries: list[Any]) -> None:
        """Have a gateway announce all it has, as the process takes it."""
        gateway = self.gateways[name]
        self.presence.announce(gateway, entries, True, True, NOW)
        self.register.tagging.announced(gateway, entries)
        self.register.reach.announced(gateway, entries)

    def turn(self) -> list[tuple[str, list[Any]]]:
        """Let a second pass; give what was sent."""
        for name in NAMES:
            if self.links.up(name):
                self.register.turn(name)
        self.register.reach.settle()
        return self.links.take()

    def call(self, method: str, *args: Any) -> Any:
        """Call as center does."""
        handler = CALLS.get(method)
        assert handler is not None
        return handler(self.register, *args)
