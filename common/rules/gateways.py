"""The gateways as a session process sees them: met, heard, announced, gone.

Time is counted in ticks (calls of `Presence.tick`), not read from a clock: a session
that was frozen itself has not heard anybody either and must not call them gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.rules.devices import Login


class Gateway:
    """One gateway: its life, its connections, and how far its announcement has come."""

    __slots__ = (
        "announcing",
        "closed",
        "closed_before",
        "connections",
        "gone",
        "heard",
        "incarnation",
        "name",
    )

    def __init__(self, name: str, heard: int) -> None:
        self.name = name
        self.incarnation = ""
        self.heard = heard
        self.gone = False
        self.connections: dict[int, Login] = {}
        self.announcing: set[int] | None = None
        """Connections named or opened since the first slice; None outside an announcement."""
        self.closed: set[int] = set()
        self.closed_before: set[int] = set()

    def hold(self, login: Login) -> None:
        """Count a login's connection among ours; an announcement under way need not name it."""
        self.connections[login.conn] = login
        if self.announcing is not None:
            self.announcing.add(login.conn)

    def release(self, login: Login) -> None:
        """Take a login's connection away; the device is away then."""
        del self.connections[login.conn]
        login.gateway = None

    def has_closed(self, conn: int) -> bool:
        """Say whether this connection was closed or told to leave a short time ago."""
        return conn in self.closed or conn in self.closed_before

    def forget_closed(self) -> None:
        """Drop the older half of what `has_closed` remembers."""
        self.closed_before = self.closed
        self.closed = set()


class Gateways:
    """All gateways, and who of them must announce before presence is known."""

    def __init__(self, names: Iterable[str], gone_ticks: int) -> None:
        self.gone_ticks = gone_ticks
        self._all = {name: Gateway(name, 0) for name in names}
        self.awaited = set(self._all)

    def __iter__(self) -> Iterator[Gateway]:
        return iter(self._all.values())

    def get(self, name: str) -> Gateway | None:
        """Give a gateway; None when nobody of this name is configured or was met."""
        return self._all.get(name)

    def heard(self, name: str, tick: int) -> None:
        """Note a sign of life from the directory. One called gone stays so until it is met."""
        self._all[name].heard = tick

    def back(self, name: str, tick: int) -> Gateway:
        """Note that a gateway speaks to us; one that was gone (or is not configured) has to announce."""
        gateway = self._all.get(name)
        if gateway is None:
            gateway = self._all[name] = Gateway(name, tick)
            self.awaited.add(name)
        gateway.heard = tick
        if gateway.gone:
            gateway.gone = False
            self.awaited.add(name)
        return gateway

    def meet(self, name: str, incarnation: str, tick: int) -> tuple[Gateway, bool] | None:
        """Take note of who speaks, before anything it says.

        Returns:
            The gateway, and whether this is a new life of it: what the old one had is
            then to be dropped by the caller. None for a voice from an older life.
        """
        gateway = self.back(name, tick)
        if incarnation < gateway.incarnation:
            return None
        renewed = incarnation != gateway.incarnation
        if renewed:
            gateway.incarnation = incarnation
            gateway.announcing = None
            gateway.closed, gateway.closed_before = set(), set()
        return gateway, renewed

    def silent(self, tick: int) -> list[Gateway]:
        """Give those not heard for more than `gone_ticks` and not called gone yet."""
        return [g for g in self._all.values() if not g.gone and tick - g.heard > self.gone_ticks]

    def await_all(self) -> None:
        """Have every gateway that is not gone announce again."""
        self.awaited = {gateway.name for gateway in self._all.values() if not gateway.gone}
