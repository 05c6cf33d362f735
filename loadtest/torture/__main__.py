"""`make torture MINUTES=1`: run it, tell how it goes, leave the report in build/torture.

python -m loadtest.torture [minutes] [seed]
"""

from __future__ import annotations

import sys

from common.settings import ROOT
from loadtest.torture.plan import Plan
from loadtest.torture.report import markdown
from loadtest.torture.run import Run

FOLDER = ROOT / "build" / "torture"


def main(words: list[str]) -> int:
    """Run; give 0 when all held."""
    minutes = float(words[0]) if words else 1.0
    seed = int(words[1]) if len(words) > 1 else 1
    plan = Plan(folder=str(FOLDER), seconds=minutes * 60, seed=seed)
    figures = Run(plan, lambda line: print(line, flush=True)).carry_out()
    print(f"\n{markdown(figures)}\n{FOLDER / 'report.json'}\n{FOLDER / 'report.md'}")
    return 0 if figures["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
