"""The way from a session process to the gateways, and what must not get lost on it."""

from __future__ import annotations

from typing import Any

from common.net.links import Links
from common.net.metrics import Counters
from common.rules.devices import Kick
from common.wire.batch import pack_item

REASONS = {
    "replaced": "this device logged in again",
    "policy": "another device logged in",
    "banned": "this user is banned",
}
COUNTERS = {"kicks": "connections told to leave"}


class Post:
    """Items to gateways.

    Args:
        links: the streams they go by.
        counters: those of COUNTERS are declared in it.
    """

    def __init__(self, links: Links, counters: Counters) -> None:
        counters.declare(COUNTERS)
        self._links = links
        self._counters = counters
        self._unsent: dict[str, list[list[Any]]] = {}

    def up(self, gateway: str) -> bool:
        """Tell whether items can be sent to a gateway."""
        return self._links.up(gateway)

    def send(self, gateway: str, item: list[Any]) -> bool:
        """Queue an item; False when it cannot be."""
        return self._links.send(gateway, pack_item(item))

    def surely(self, gateway: str, item: list[Any]) -> None:
        """Send an item that must not be lost while the link lasts; after that the gateway announces anew."""
        if not self.send(gateway, item):
            self._unsent.setdefault(gateway, []).append(item)

    def again(self, gateway: str) -> None:
        """Send what could not be sent before."""
        for item in self._unsent.pop(gateway, ()):
            self.surely(gateway, item)

    def begun(self, gateway: str) -> None:
        """A link began: what waited belongs to the one before."""
        self._unsent.pop(gateway, None)

    def kick(self, kicks: list[Kick], reason: str = "") -> None:
        """Have gateways end connections; the reason is that of the code unless given."""
        self._counters.kicks += len(kicks)
        for kick in kicks:
            words = reason or REASONS[kick.code]
            self.surely(kick.gateway, ["kick", kick.conn, kick.epoch, kick.code, words])
