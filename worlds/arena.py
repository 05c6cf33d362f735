"""The arena: walk, shoot, do not be shot. An example to read, to play, and to begin a game of one's own from.

    Arena    everybody against everybody, and against slimes; two doors lead to the garden
    Garden   nobody is hurt, and hearts grow

    input    {"do": "walk", "dx", "dy"}    go that way, (0, 0) stops; both from -1 to 1
             {"do": "fire", "dx", "dy"}    shoot that way

    kind     data, as clients see it
    player   {"name", "hp", "score"}
    slime    its hp
    heart    nothing
    door     the map it leads to

    event    {"shot": [x, y, x2, y2], "by": id}     from where to where
             {"hit": id, "hp": left}
             {"fell": id, "by": id, 0 for a slime}  a player stands up elsewhere, a slime is gone
             {"blips": [[x, y]…]}                   to all: where the best are, for the minimap

The page that shows it: clients/js/arena. How to write a map: docs/worlds.md.
"""

from __future__ import annotations

from math import hypot
from typing import Any, ClassVar

from common.rules.queue import Mode
from worlds.actions import Field, action, method
from worlds.space import Entity, Player, Space

SPEED = 48.0
"""Points a player walks in a second."""
BODY = 5.0
"""A shot that passes nearer than this hits."""
REACH = 90.0
"""How far a shot goes."""
COOLDOWN = 0.4
"""Seconds between two shots."""
DAMAGE = 20
HEALTH = 100
HEART = 40
"""What a heart heals."""
HEART_GROWS = 8.0
"""Seconds until another heart grows for one that was picked up."""
SLIME_HEALTH = 60
SLIME_SPEED = 22.0
SLIME_SIGHT = 60.0
SLIME_BITE = 8
SLIME_THINKS = 0.5
"""Seconds between two decisions of a slime, and two bites."""
SLIME_COMES = 6.0
"""Seconds until another slime comes for one that fell."""
POINTS = {"player": 10, "slime": 1}
BLIPS = 50
BLIPS_EVERY = 2.0
BIRTH = 150
"""How far from the middle players begin, as long as they are few."""
FEW = 32

DIRECTION = (Field("dx", "number", low=-1, high=1), Field("dy", "number", low=-1, high=1))


class Ground(Space):
    """What arena and garden share.

    Attributes:
        keeps: both keep a player's things under one name, so these go through doors.
        name: how doors call it.
        peaceful: nobody is hurt.
        doors: (x, y, map it leads to).
        hearts, slimes: how many there are.
    """

    name: ClassVar[str]
    peaceful: ClassVar[bool] = False
    doors: ClassVar[tuple[tuple[int, int, str], ...]] = ()
    hearts: ClassVar[int] = 0
    slimes: ClassVar[int] = 0
    view = 120
    keeps = "arena"

    # the beginning

    def on_open(self) -> None:
        """Doors, hearts and slimes are there from the beginning."""
        self.monsters: list[Entity] = []
        for x, y, to in self.doors:
            self.add(Entity("door", x, y, to))
        for _ in range(self.hearts):
            self.grow_heart()
        for _ in range(self.slimes if self.made is None else 0):  # a duel is between its players alone
            self.add_slime()
        self.every(SLIME_THINKS, self.think)
        self.every(BLIPS_EVERY, self.show_blips)

    def anywhere(self) -> tuple[int, int]:
        """Give a place at random."""
        return self.chance.randint(0, int(self.width)), self.chance.randint(0, int(self.height))

    def grow_heart(self) -> None:
        """Let a heart grow somewhere."""
        self.add(Entity("heart", *self.anywhere()))

    def add_slime(self) -> None:
        """Let a slime come from somewhere."""
        slime = Entity("slime", *self.anywhere(), SLIME_HEALTH)
        slime.hp, slime.prey, slime.heading = SLIME_HEALTH, None, (0.0, 0.0)
        slime.spot = (slime.x, slime.y)
        self.monsters.append(slime)
        self.add(slime)

    # players come and go

    def on_load(self, player: Player, saved: Any) -> None:
        """It goes on with what it had, and where it was if that was here; a duel begins anew."""
        player.score, player.name = saved["score"], saved["name"]
        if self.made is None:
            player.hp = saved["hp"]
            if saved["map"] == self.name:
                player.spot = tuple(saved["at"])

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        """A player comes: through a door if it says so, else somewhere about the middle."""
        said = data if isinstance(data, dict) else {}
        player.hp = getattr(player, "hp", HEALTH)
        player.score = getattr(player, "score", 0)
        player.name = str(said.get("name") or getattr(player, "name", player.uid))[:20]
        doors = [(x, y) for x, y, to in self.doors if to == said.get("through")]
        player.heading, player.ready_at = (0.0, 0.0), 0.0
        place = self.chance.choice(doors) if doors else self.birthplace()
        player.spot = self.inside(*getattr(player, "spot", place))
        player.x, player.y = map(round, player.spot)
        player.in_door = self.door_at(player.x, player.y) is not None
        player.data = self.looks(player)
        return {"width": self.width, "height": self.height, "view": self.view, "speed": SPEED} | {
            "rate": self.rate,
            "doors": [list(door) for door in self.doors],
            "peaceful": self.peaceful,
        }

    def birthplace(self) -> tuple[float, float]:
        """Give a place about the middle; many players are spread as thinly as few."""
        far = BIRTH * max(1.0, len(self.players) / FEW) ** 0.5
        x, y = self.chance.uniform(-far, far), self.chance.uniform(-far, far)
        return self.width / 2 + x, self.height / 2 + y

    def on_save(self, player: Player) -> Any:
        """What a player has, and where it is, is kept."""
        return {"map": self.name, "at": player.spot, "hp": player.hp} | {
            "score": player.score,
            "name": player.name,
        }

    def looks(self, player: Player) -> dict[str, Any]:
        """Give what others see of a player."""
        return {"name": player.name, "hp": player.hp, "score": player.score}

    # what players do

    @action("walk", *DIRECTION)
    def walk(self, player: Player, dx: float, dy: float) -> None:
        """It walks that way until it says otherwise."""
        player.heading = direction(dx, dy)

    @action("fire", *DIRECTION)
    def fire(self, player: Player, dx: float, dy: float) -> None:
        """It shoots that way; the first one within reach is hit."""
        dx, dy = direction(dx, dy)
        if self.peaceful or self.time < player.ready_at or not (dx or dy):
            return
        player.ready_at = self.time + COOLDOWN
        target, far = None, REACH
        for other in self.near(player.x, player.y, REACH):
            ahead = (other.x - player.x) * dx + (other.y - player.y) * dy
            aside = abs((other.x - player.x) * dy - (other.y - player.y) * dx)
            if other is not player and other.kind in POINTS and 0 < ahead < far and aside <= BODY:
                target, far = other, ahead
        end = round(player.x + dx * far), round(player.y + dy * far)
        self.tell_near(player.x, player.y, {"shot": [player.x, player.y, *end], "by": player.id})
        if target is not None:
            self.hurt(target, DAMAGE, player)

    @method("top")
    def top(self, player: Player) -> list[list[Any]]:
        """Give the ten best: [name, score] each."""
        return [[one.name, one.score] for one in self.best()[:10]]

    def best(self) -> list[Player]:
        """Give all players, the best first."""
        return sorted(self.players.values(), key=lambda one: -one.score)

    # what happens to them

    def hurt(self, target: Entity, damage: int, by: Entity) -> None:
        """Something is hit; it may fall."""
        target.hp -= damage
        if target.hp > 0:
            self.tell_near(target.x, target.y, {"hit": target.id, "hp": target.hp})
            self.show(target, self.looks(target) if isinstance(target, Player) else target.hp)
            return
        self.tell_near(target.x, target.y, {"fell": target.id, "by": by.id if isinstance(by, Player) else 0})
        if isinstance(by, Player):
            by.score += POINTS[target.kind]
            self.show(by, self.looks(by))
        if isinstance(target, Player):
            target.hp = HEALTH
            self.put(target, *self.anywhere())
            self.show(target, self.looks(target))
        else:
            self.monsters.remove(target)
            self.remove(target)
            self.after(SLIME_COMES, self.add_slime)

    def put(self, entity: Entity, x: float, y: float) -> None:
        """Put something that walks at a place; `spot` is exact, clients are told whole numbers."""
        entity.spot = self.inside(x, y)
        self.move(entity, round(entity.spot[0]), round(entity.spot[1]))

    def on_tick(self, seconds: float) -> None:
        """All who walk get on; players step into doors and pick up hearts."""
        for player in self.players.values():
            dx, dy = player.heading
            if dx or dy:
                x, y = player.spot
                self.put(player, x + dx * SPEED * seconds, y + dy * SPEED * seconds)
                self.touch(player)
        for slime in self.monsters:
            dx, dy = slime.heading
            if dx or dy:
                x, y = slime.spot
                self.put(slime, x + dx * SLIME_SPEED * seconds, y + dy * SLIME_SPEED * seconds)

    def door_at(self, x: float, y: float) -> str | None:
        """Give where the door at a place leads; None: there is no door."""
        return next((to for dx, dy, to in self.doors if hypot(dx - x, dy - y) <= 2 * BODY), None)

    def touch(self, player: Player) -> None:
        """A player may have come to a door, or to a heart it needs."""
        x, y = player.x, player.y
        door = self.door_at(x, y)
        if door is not None and not player.in_door:
            self.send(player, door, {"through": self.name})
        player.in_door = door is not None
        if player.hp < HEALTH:
            heart = self.nearest(x, y, 2 * BODY, kind="heart")
            if heart is not None:
                self.remove(heart)
                self.after(HEART_GROWS, self.grow_heart)
                player.hp = min(HEALTH, player.hp + HEART)
                self.show(player, self.looks(player))

    # slimes, and the minimap

    def think(self) -> None:
        """Each slime looks for prey, bites what is near, or wanders about."""
        for slime in self.monsters:
            prey = self.nearest(slime.x, slime.y, SLIME_SIGHT, kind="player")
            if prey is None:
                if self.chance.random() < 0.2:
                    slime.heading = direction(self.chance.uniform(-1, 1), self.chance.uniform(-1, 1))
                continue
            way = prey.x - slime.x, prey.y - slime.y
            near = hypot(*way) <= 2 * BODY
            slime.heading = (0.0, 0.0) if near else direction(*way)
            if near:
                self.hurt(prey, SLIME_BITE, slime)

    def show_blips(self) -> None:
        """Tell all where the best are."""
        if self.players:
            self.tell_all({"blips": [[one.x, one.y] for one in self.best()[:BLIPS]]})


class Arena(Ground):
    """Where it is dangerous."""

    name = "arena"
    width = 2_400
    height = 2_400
    doors = ((1_200, 1_020, "garden"), (600, 1_800, "garden"))
    hearts = 60
    slimes = 40
    modes = {"duel": Mode(teams=2)}


class Garden(Ground):
    """Where one gets well again."""

    name = "garden"
    width = 600
    height = 600
    peaceful = True
    doors = ((300, 120, "arena"),)
    hearts = 30


def direction(dx: float, dy: float) -> tuple[float, float]:
    """Give a way of length 1, or (0, 0)."""
    length = hypot(dx, dy)
    return (dx / length, dy / length) if length else (0.0, 0.0)
