"""Moves between maps under fire, small; the same code as `make moves` (docs/testing.md)."""

from __future__ import annotations

from loadtest.moves.plan import Plan
from loadtest.moves.report import markdown
from loadtest.moves.run import Run


def test_players_who_move_while_processes_are_killed_are_in_one_map_with_what_they_were_told() -> None:
    plan = Plan(players=40, moves=5, rest=0.5, kill_every=2.5, least_kills=2, most=90.0)
    figures = Run(plan, print).carry_out()
    assert figures["passed"], markdown(figures)
