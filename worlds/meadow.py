"""A meadow: walk about, pick flowers, see others do it. The map of docs/worlds.md."""

from __future__ import annotations

from math import hypot
from typing import Any

from worlds.actions import Field, action, method
from worlds.space import Entity, Player, Space

SPEED = 50
"""Points a second."""
REACH = 15
FLOWERS = 40
GROWS_AFTER = 10.0


class Meadow(Space):
    """Players walk; who stands at a flower can pick it; another one grows elsewhere."""

    width = 1_000
    height = 1_000
    view = 200

    def on_open(self) -> None:
        """Flowers grow."""
        for _ in range(FLOWERS):
            self.grow()

    def grow(self) -> None:
        """Let a flower grow somewhere."""
        x, y = self.chance.randint(0, 1_000), self.chance.randint(0, 1_000)
        self.add(Entity("flower", x, y, self.chance.choice(["red", "white", "blue"])))

    def on_load(self, player: Player, saved: Any) -> None:
        """It goes on with what it had."""
        player.picked = saved["picked"]
        player.x, player.y = saved["at"]

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        """A player comes with a name of its own choice."""
        player.heading = (0.0, 0.0)
        player.picked = getattr(player, "picked", 0)
        player.data = {"name": str(data)[:20] if data else player.uid}
        return {"width": self.width, "height": self.height, "picked": player.picked}

    def on_save(self, player: Player) -> Any:
        """Where it was, and its flowers, are kept."""
        return {"picked": player.picked, "at": [player.x, player.y]}

    @action("walk", Field("dx", "number", low=-1, high=1), Field("dy", "number", low=-1, high=1))
    def walk(self, player: Player, dx: float, dy: float) -> None:
        """It walks that way until it says otherwise; (0, 0) stops it."""
        length = max(1.0, hypot(dx, dy))
        player.heading = (dx / length, dy / length)

    @action("pick")
    def pick(self, player: Player) -> None:
        """It picks the flower it stands at."""
        flower = self.nearest(player.x, player.y, REACH, kind="flower")
        if flower is None:
            self.tell(player, {"missed": True})
            return
        self.remove(flower)
        player.picked += 1
        self.tell_near(flower.x, flower.y, {"picked": flower.data, "by": player.id})
        self.after(GROWS_AFTER, self.grow)

    @method("score")
    def score(self, player: Player) -> list[list[Any]]:
        """Give who has picked how many."""
        best = sorted(self.players.values(), key=lambda one: -one.picked)
        return [[one.uid, one.picked] for one in best[:10]]

    def on_tick(self, seconds: float) -> None:
        """All who walk get on."""
        for player in self.players.values():
            dx, dy = player.heading
            if dx or dy:
                way = SPEED * seconds
                self.move(player, round(player.x + dx * way), round(player.y + dy * way))
