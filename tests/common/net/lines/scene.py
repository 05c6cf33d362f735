"""Function, worlds and who asks, with calls that are carried out at once."""

from __future__ import annotations

from typing import Any

from common.errors import RequestError, Unavailable
from common.net.lines.desk import Desk
from common.net.lines.host import HOSTS, Host
from common.net.lines.registry import LINES, Registry
from common.places import Places
from common.rules.hosting import Hosting
from common.settings import Cluster, Settings
from common.wire.calls import pack_result

MAPS = {"plaza": 1, "arena": 2}
SIZES = [2, 3, 4]
ARENA = "demo/arena"


class Scene:
    """Everybody's tables, by process name; who is in `away` answers nothing."""

    def __init__(self, functions: int = 1) -> None:
        self.settings = Settings(cluster=Cluster(maps=MAPS, functions=functions))
        self.places = Places(self.settings)
        self.away: set[str] = set()
        self.registries = {name: Registry(self, self.places, self.settings) for name in self.places.functions}
        self.states: dict[str, str] = {}
        self.desk = Desk(self, self.places, lambda name: self.states.get(name, ""))
        self.busy: dict[str, bool] = {}
        self.hosts: dict[str, Host] = {}
        for name in self.places.maps["arena"]:
            self.start(name, "0001")

    @property
    def registry(self) -> Registry:
        return self.registries[self.places.function_of(ARENA)]

    def start(self, name: str, incarnation: str) -> Host:
        """Start a world with nothing in it."""
        index = self.places.maps["arena"].index(name)
        host = self.hosts[name] = Host(
            Hosting(index, SIZES[1], SIZES[2], idle=30.0, hold=15.0),
            self,
            self.places.functions,
            lambda: (name, [incarnation, 1], "ready"),
            SIZES,
            lambda: self.busy.get(name, False),
        )
        return host

    def report(self) -> None:
        for name, host in self.hosts.items():
            if name not in self.away:
                host.report(1.0)

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        if peer in self.away:
            raise Unavailable(f"{peer} is away")
        pack_result(args)
        tables = [(LINES, self.registries.get(peer)), (HOSTS, self.hosts.get(peer))]
        handler, owner = next((t.get(method), o) for t, o in tables if o is not None and method in t)
        assert handler is not None
        return handler(owner, *args)

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for peer in peers:
            try:
                results[peer] = self.call(peer, method, *args)
            except RequestError as error:
                results[peer] = error
        return results
