"""`make moves`: run it, tell how it goes, leave the report in build/moves.

python -m loadtest.moves [players] [moves] [seed]
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - patched before anything else is imported

from common.settings import ROOT  # noqa: E402
from loadtest.moves.plan import Plan  # noqa: E402
from loadtest.moves.report import markdown, write  # noqa: E402
from loadtest.moves.run import Run  # noqa: E402

FOLDER = ROOT / "build" / "moves"


def main(words: list[str]) -> int:
    """Run; give 0 when all held."""
    players, moves, seed = (int(word) for word in (*words, *("500", "20", "1")[len(words) :]))
    plan = Plan(players=players, moves=moves, seed=seed)
    figures = Run(plan, lambda line: print(line, flush=True)).carry_out()
    write(FOLDER, figures)
    print(f"\n{markdown(figures)}\n{FOLDER / 'report.json'}\n{FOLDER / 'report.md'}")
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
