"""What a run of moves does, and how hard."""

from __future__ import annotations

from dataclasses import dataclass

MAPS = ("east", "west")
PRODUCT = "demo"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run. Times in seconds.

    Args:
        players, moves: so many players move so often, at least.
        rest: mean time of a player between two moves.
        kill_every: a process is killed this often.
        least_kills: of worlds, of session, of dbservers, each.
        most: the run fails when it is not over by then.
        settle: how long players may take to be somewhere when all is quiet again.
    """

    players: int = 500
    moves: int = 20
    rest: float = 4.0
    kill_every: float = 4.0
    least_kills: int = 5
    most: float = 900.0
    settle: float = 60.0
    seed: int = 1

    def users(self) -> list[str]:
        """Give all players."""
        return [f"{PRODUCT}/u{number}" for number in range(self.players)]
