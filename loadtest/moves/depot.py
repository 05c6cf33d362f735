"""Two maps whose players do nothing but take things up and go from one to the other: for proofs.

    input      {"take": n}    takes up item n, of its own, behind those it has
    go         to another map
    items      what it has
    keep       stores it now; the event {"kept": items, "stored": bool} says how it went

A client is told with `enter` and `entered` what it came in with (`items`), and a number for each
coming in (`life`): who has the same one before and after was only out of touch.

Source: docs/testing.md, moves.
"""

from __future__ import annotations

from typing import Any

from worlds.actions import Field, method
from worlds.space import Player, Space


class Depot(Space):
    """One of the maps; they share what is kept."""

    keeps = "depot"
    width = height = 1_000
    view = 20

    def on_load(self, player: Player, saved: Any) -> None:
        """It has what it had."""
        player.items = saved

    def on_enter(self, player: Player, data: Any) -> dict[str, Any]:
        """Each stands somewhere else, so that few see each other."""
        player.items = getattr(player, "items", [])
        player.x, player.y = self.chance.randint(0, 1_000), self.chance.randint(0, 1_000)
        return {"items": list(player.items), "life": self.chance.getrandbits(50), "data": data}

    def on_input(self, player: Player, data: Any) -> None:
        """It takes something up."""
        player.items.append([player.uid, data["take"]])

    def on_save(self, player: Player) -> list[Any]:
        """What it has is kept."""
        return list(player.items)

    @method("go", Field("to", "name"), Field("data", "data", required=False))
    def go(self, player: Player, to: str, data: Any) -> bool:
        """It goes to another map."""
        self.send(player, to, data)
        return True

    @method("items")
    def items(self, player: Player) -> list[Any]:
        """Give what it has."""
        return list(player.items)

    @method("keep")
    def keep(self, player: Player) -> int:
        """It is stored now."""
        self.save(player, self.kept, player, list(player.items))
        return len(player.items)

    def kept(self, stored: bool, player: Player, items: list[Any]) -> None:
        """It was, or not."""
        self.tell(player, {"kept": items, "stored": stored})
