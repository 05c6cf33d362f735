"""From users to their connections: one item per gateway, with all connections it has.

    live copy of a kept message   kept      what is not told now is told later
    message that is not kept      inbox     at most once
    receipt                       receipt   at most once
    come in, go out               assign    while the link lasts

A kept message is in storage before its receivers are looked up here, so a live copy
that cannot be sent costs only time. The connections it was for are remembered and
*nudged* a turn later: a `kept` item whose `prev` is its own number has the gateway
read the mailbox. Users that are not known to be here while gateways still announce
are remembered too, and nudged when they turn out to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from common.net.metrics import Counters
from common.net.register.post import Post
from common.rules.devices import Login
from common.rules.gateways import Gateway
from common.rules.presence import Presence

MISSED = 100_000
"""Users remembered for whom something came while it was not known whether they are here."""
NUDGED = 2_000
"""Connections in one nudge."""
COUNTERS = {
    "sends": "messages passed to receivers' gateways",
    "kept": "kept messages passed to receivers' gateways",
    "kept_late": "connections that had to be told of a kept message later",
    "kept_missed": "kept messages whose receiver was not known to be here or not yet",
    "receipts": "receipts passed on",
    "assigned": "connections told to join or leave a room",
}


class Reach:
    """Sends to users.

    Args:
        presence: who is where.
        post: the way to gateways.
        counters: those of COUNTERS are declared in it.
    """

    def __init__(self, presence: Presence, post: Post, counters: Counters) -> None:
        counters.declare(COUNTERS)
        self._presence = presence
        self._post = post
        self._counters = counters
        self._late: dict[str, dict[Login, int]] = {}
        self._missed: dict[str, int] = {}

    def __len__(self) -> int:
        """What waits to be told later."""
        return sum(map(len, self._late.values())) + len(self._missed)

    def kept(self, rows: Sequence[Sequence[Any]], mid: int, body: bytes) -> int:
        """Tell of a kept message: [user, seq, number given before] for each receiver; give users reached."""
        reached: set[str] = set()
        for gateway, told in self._by_gateway(rows).items():
            if self._post.send(gateway, ["kept", [[x.conn, seq, prev] for x, seq, prev in told], mid, body]):
                reached.update(login.user for login, _, _ in told)
            else:
                self._counters.kept_late += len(told)
                late = self._late.setdefault(gateway, {})
                late.update((login, max(seq, late.get(login, 0))) for login, seq, _ in told)
        self._counters.kept += 1
        return len(reached)

    def _by_gateway(self, rows: Sequence[Sequence[Any]]) -> dict[str, list[tuple[Login, int, int]]]:
        found: dict[str, list[tuple[Login, int, int]]] = {}
        for user, seq, prev in rows:
            logins = self._presence.logins(user)
            for login in logins:
                if login.gateway is not None:
                    found.setdefault(login.gateway.name, []).append((login, seq, prev))
            if not self._presence.known:
                self._miss(user, seq)
        return found

    def _miss(self, user: str, seq: int) -> None:
        self._counters.kept_missed += 1
        self._missed[user] = max(seq, self._missed.pop(user, 0))
        if len(self._missed) > MISSED:
            del self._missed[next(iter(self._missed))]

    def live(self, users: Iterable[str], mid: int, sender: str, data: bytes, time_ms: int) -> int:
        """Pass a message that is not kept to all connections of its receivers; give users reached."""
        reached: set[str] = set()
        for gateway, logins in self._presence.targets(users).items():
            item = ["inbox", [login.conn for login in logins], mid, sender, data, time_ms]
            if self._post.send(gateway, item):
                reached.update(login.user for login in logins)
        self._counters.sends += 1
        return len(reached)

    def receipt(self, sender: str, mid: int, uid: str, device: str, time_ms: int) -> None:
        """Tell all connections of a sender that a device has a message."""
        for gateway, logins in self._presence.targets([sender]).items():
            self._post.send(gateway, ["receipt", [login.conn for login in logins], mid, uid, device, time_ms])
        self._counters.receipts += 1

    def assign(self, user: str, room: str, join: bool) -> int:
        """Have all connections of a user join (or leave) a room; give how many are told."""
        told = 0
        for gateway, logins in self._presence.targets([user]).items():
            if self._post.up(gateway):
                self._post.surely(gateway, ["assign", [login.conn for login in logins], room, join])
                told += len(logins)
        self._counters.assigned += told
        return told

    # later

    def announced(self, gateway: Gateway, entries: Iterable[Sequence[Any]]) -> None:
        """Connections turned out to be here: nudge those for whom something came meanwhile."""
        if not self._missed:
            return
        late = self._late.setdefault(gateway.name, {})
        for conn, user, *_ in entries:
            seq, login = self._missed.get(user, 0), gateway.connections.get(conn)
            if seq and login is not None:
                late[login] = max(seq, late.get(login, 0))

    def turn(self, gateway: str) -> None:
        """Nudge the connections of a gateway that were not told; called while its link is up."""
        late = self._late.pop(gateway, None)
        if late:
            self._nudge(gateway, late)

    def _nudge(self, gateway: str, late: dict[Login, int]) -> None:
        here = [(x, seq) for x, seq in late.items() if x.gateway is not None and x.gateway.name == gateway]
        for begin in range(0, len(here), NUDGED):
            rows = [[login.conn, seq, seq] for login, seq in here[begin : begin + NUDGED]]
            if not self._post.send(gateway, ["kept", rows, 0, b""]):
                self._late[gateway] = dict(here[begin:])
                return

    def settle(self) -> None:
        """Each turn: once presence is known nobody is missed any more."""
        if self._presence.known:
            self._missed.clear()
