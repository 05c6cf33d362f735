"""What is in a spatial map: entities, and those of them that clients play.

A map's author sets and reads `kind x y data`, and any further attribute; all else is
kept by the interest (common/rules/interest.py) and the world process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.rules.grid import NOWHERE
from common.rules.inputs import Inputs


class Entity:
    """Something with a place.

    Args:
        kind: what clients draw.
        x, y: where; whole numbers cost 3 bytes each on the wire, others 9.
        data: what else clients are shown; a plain value. Changed by `Space.show`.

    Attributes:
        id: unique in its map's life; 0 before it is added.
        cell: where it is; NOWHERE: not in the map.
        told: the cell clients know it in.
        centre: the middle of what it watches; NOWHERE: nothing yet.
        stirred: it moved, or `data` changed, since the last tick.
        changed: `data` changed.
        watching: it is a player's, and has a client.
    """

    __slots__ = (
        "__dict__",
        "cell",
        "centre",
        "changed",
        "data",
        "id",
        "kind",
        "stirred",
        "told",
        "watching",
        "x",
        "y",
    )

    def __init__(self, kind: str = "", x: float = 0, y: float = 0, data: Any = None) -> None:
        self.id = 0
        self.kind = kind
        self.x = x
        self.y = y
        self.data = data
        self.cell = self.told = self.centre = NOWHERE
        self.stirred = self.changed = self.watching = False

    if TYPE_CHECKING:
        # a map's author gives entities whatever attributes the game needs
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def row(self) -> tuple[int, str, float, float, Any]:
        """Give what clients are told when it comes into view."""
        return self.id, self.kind, self.x, self.y, self.data


def _any_input(number: int) -> bool:
    """Of a player nobody keeps anything of: each input counts."""
    return True


class Player(Entity):
    """The entity of a client.

    Attributes:
        uid: the user's name within the product.
        inputs: what the client has sent and no tick has taken yet.
        applies: tells whether an input is to be applied, and counts it; to be asked then.
        ack: number of the last input applied.
        gateway, number: the connection it is played by; "" and 0: none at present.
    """

    __slots__ = ("ack", "applies", "gateway", "inputs", "number", "uid")

    def __init__(self, uid: str, inputs: Inputs, x: float = 0, y: float = 0) -> None:
        super().__init__("player", x, y)
        self.uid = uid
        self.inputs = inputs
        self.applies: Callable[[int], bool] = _any_input
        self.ack = 0
        self.gateway = ""
        self.number = 0
