"""The clients of a simulated cluster: a sample of them, each standing for many.

Users are placed by common/places.py and known to the real common/rules/presence.py of their session; rooms
are real ones (common/rules/room.py) in the world that owns them. What happens is drawn by chance from
the load's rates.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from common.places import Places
from common.rules.cache import Keep
from common.rules.devices import Limits
from common.rules.presence import Presence
from common.rules.room import Message, Room
from loadtest.simulation.fabric import TURN, Fabric
from tools.capacity import Load

PRODUCT = "sim"
KEEP = Keep(max_items=1, max_bytes=65_536, order="sequence")
MESSAGES_OF_A_TURN = 50
"""Room messages simulated in a turn; they stand for all."""
BACK_WITHIN = 3.0
"""Seconds in which clients of a dead gateway come back."""
RETRY = 1.0
"""Seconds until a login is tried again whose session does not answer."""


class User:
    """One user of the sample."""

    __slots__ = ("conn", "epoch", "gateway", "name", "session")

    def __init__(self, name: str, session: str) -> None:
        self.name = name
        self.session = session
        self.gateway = ""
        self.conn = 0
        self.epoch = 0


class Crowd:
    """Users, rooms, and the sessions' presence.

    Args:
        others: processes of dbserver, center, redis: group -> how many.

    Attributes:
        weight: clients a user of the sample stands for.
        presences: session -> its presence.
    """

    def __init__(
        self,
        fabric: Fabric,
        load: Load,
        sample: tuple[int, int],
        others: dict[str, int],
        dice: random.Random,
    ) -> None:
        users, rooms = sample
        places = fabric.places
        self._fabric = fabric
        self._load = load
        self._dice = dice
        self._others = {group: [f"{group}-{index}" for index in range(n)] for group, n in others.items()}
        self._conn = 0
        self._owed: dict[str, float] = {}
        self._returning: list[tuple[float, User]] = []
        self.weight = load.connections / users
        self.presences = {name: self._presence() for name in places.sessions}
        names = [f"{PRODUCT}/u{number}" for number in range(users)]
        self.users = [User(name, places.session_of(name)) for name in names]
        self.rooms = [self._room(places, f"{PRODUCT}/plaza/r{number}") for number in range(rooms)]

    def _presence(self) -> Presence:
        return Presence(self._fabric.places.gateways, Limits({}))

    def _room(self, places: Places, key: str) -> tuple[str, Room]:
        """Make a room whose members are anywhere."""
        room = Room(key, KEEP, 1, 0, self._fabric.now)
        seats: dict[str, int] = {}
        for gateway in self._dice.choices(places.gateways, k=round(self._load.room_size)):
            seats[gateway] = seats.get(gateway, 0) + 1
        for gateway, count in seats.items():
            room.set_members(gateway, count, 0)
        return places.world_of(key), room

    @property
    def _ms(self) -> int:
        return int(self._fabric.now * 1000)

    # costs

    def _pay(self, thing: str, where: dict[str, str], times: float) -> None:
        """Count a thing, and have those pay who do it; groups that are not named: any process of them."""
        self._fabric.counts[thing] += times  # type: ignore[assignment]
        for group, us in self._fabric.figures.cpu_us[thing].items():
            if group == "source":
                continue
            self._fabric.spend(where.get(group) or self._dice.choice(self._of(group)), us * times)

    def _of(self, group: str) -> Sequence[str]:
        places = self._fabric.places
        simulated = {"session": places.sessions, "world": places.worlds, "gateway": places.gateways}
        return simulated.get(group) or self._others[group]

    def _due(self, thing: str, rate: float) -> int:
        """Give how many whole ones of a rate are due in this turn."""
        self._owed[thing] = self._owed.get(thing, 0.0) + rate * TURN
        whole = int(self._owed[thing])
        self._owed[thing] -= whole
        return whole

    # what clients do

    def come(self) -> None:
        """Have all users log in."""
        for user in self.users:
            self._login(user)

    def turn(self) -> None:
        """Do what clients, and sessions, do in a second."""
        fabric, load = self._fabric, self._load
        self._announce()
        for _ in range(self._due("login", len(self.users) / load.stay)):
            user = self._dice.choice(self.users)
            if user.gateway and fabric.processes[user.session].runs:
                self._leave(user)
                self._login(user)
        while self._returning and self._returning[-1][0] <= fabric.now:
            self._login(self._returning.pop()[1])
        here: dict[str, int] = {}
        for user in self.users:
            if user.gateway:
                here[user.gateway] = here.get(user.gateway, 0) + 1
        for gateway, count in here.items():
            connections = count * self.weight * TURN
            self._pay("heartbeat", {"gateway": gateway}, connections / load.ping)
            self._pay("broadcast", {"gateway": gateway}, connections * load.broadcasts / 3600)
        self._talk()
        self._push()
        self._sessions()

    def _login(self, user: User) -> None:
        fabric = self._fabric
        if not fabric.processes[user.session].runs:
            self._come_back(user, RETRY)
            return
        user.gateway = self._dice.choice(fabric.places.gateways)
        while not fabric.processes[user.gateway].runs:
            user.gateway = self._dice.choice(fabric.places.gateways)
        self._conn += 1
        user.conn = self._conn
        presence = self.presences[user.session]
        gateway = presence.meet(user.gateway, fabric.processes[user.gateway].incarnation, self._ms)
        assert gateway is not None
        user.epoch = presence.open(gateway, user.conn, user.name, "d", "phone", 0, self._ms).epoch
        self._pay("login", {"gateway": user.gateway, "session": user.session}, self.weight)

    def _leave(self, user: User) -> None:
        presence = self.presences[user.session]
        gateway = presence.gateways.get(user.gateway)
        assert gateway is not None
        presence.close(gateway, user.conn, user.name, "d", user.epoch, False, self._ms)
        user.gateway = ""

    def _talk(self) -> None:
        if not self._load.messages:
            return
        stands_for = self._load.messages * TURN / MESSAGES_OF_A_TURN
        for _ in range(MESSAGES_OF_A_TURN):
            world, room = self._dice.choice(self.rooms)
            room.add(Message(room.offset + 1, "u", "", b"", self._ms), self._fabric.now)
            self._pay("publish", {"world": world}, stands_for)
            for gateway, (members, _) in room.members.items():
                self._pay("crossing", {"world": world, "gateway": gateway}, stands_for)
                self._pay("delivery", {"gateway": gateway}, stands_for * members)

    def _push(self) -> None:
        load = self._load
        kinds = {
            "unicast": load.pushes * (1 - load.kept),
            "kept": load.pushes * load.kept,
            "receiver": load.receivers,
        }
        for thing, rate in kinds.items():
            if not rate:
                continue
            for user in self._dice.choices(self.users, k=MESSAGES_OF_A_TURN):
                if user.gateway:
                    where = {"gateway": user.gateway, "session": user.session}
                    self._pay(thing, where, rate * TURN / MESSAGES_OF_A_TURN)

    # what sessions do

    def _sessions(self) -> None:
        """Have every session hear who lives, as servers/session.py does each second."""
        fabric = self._fabric
        states = {name: fabric.state(name) for name in fabric.places.gateways}
        for name, presence in self.presences.items():
            if not fabric.processes[name].runs:
                continue
            for gateway, state in states.items():
                if (gateway, name) not in fabric.down or state not in ("", "suspect", "gone"):
                    presence.gateways.heard(gateway, presence.ticks)
                elif state == "gone":
                    presence.call_gone(gateway, self._ms)
            presence.tick(self._ms)

    def _announce(self) -> None:
        """Have gateways whose stream with a session began anew announce all they have for it."""
        fabric, there = self._fabric, self._by_place() if self._fabric.began else {}
        for gateway, session in fabric.began:
            presence = self.presences.get(session)
            if presence is None:
                continue
            presence.back(gateway)
            met = presence.meet(gateway, fabric.processes[gateway].incarnation, self._ms)
            assert met is not None
            mine: list[Sequence[Any]] = [
                (user.conn, user.name, "d", "phone", user.epoch, self._ms, [])
                for user in there.get((gateway, session), ())
            ]
            presence.announce(met, mine, True, True, self._ms)
        fabric.began.clear()

    def _by_place(self) -> dict[tuple[str, str], list[User]]:
        """Give (gateway, session) -> users."""
        there: dict[tuple[str, str], list[User]] = {}
        for user in self.users:
            if user.gateway:
                there.setdefault((user.gateway, user.session), []).append(user)
        return there

    # what happens to processes

    def gateway_died(self, name: str) -> int:
        """Its clients notice, and come back one by one anywhere; give how many of the sample."""
        lost = [user for user in self.users if user.gateway == name]
        for user in lost:
            user.gateway = ""
            self._come_back(user, self._dice.uniform(0, BACK_WITHIN))
        return len(lost)

    def _come_back(self, user: User, delay: float) -> None:
        self._returning.append((self._fabric.now + delay, user))
        self._returning.sort(key=lambda pair: -pair[0])

    def session_died(self, name: str) -> None:
        """It comes back knowing nobody."""
        self.presences[name] = self._presence()

    # what must be so

    def online(self) -> int:
        """Give how many users their session has online, on the one connection they have."""
        right = 0
        for user in self.users:
            logins = self.presences[user.session].logins(user.name)
            right += (
                len(logins) == 1
                and logins[0].conn == user.conn
                and logins[0].gateway is not None
                and logins[0].gateway.name == user.gateway
            )
        return right

    def known(self) -> bool:
        """Tell whether all sessions know who is offline."""
        return all(presence.known for presence in self.presences.values())
