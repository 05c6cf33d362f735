"""`make bench-peers`: the same fan-out on Roost and on other servers, in one run, in turn.

    python -m loadtest.peers [name=value …] [--out build/peers] [--docs]

Names are those of loadtest/peers/size.py: `peers=roost,nats rounds=3`. Each server is started with
its own files on a free port and ended by its pid, once a round. A server that is not on this machine
is left out, and the command that installs it is said. Leaves in `--out`: report.json, report.md and the
plots; with `--docs` they are put into docs/performance.md too. Exit code 1 when a server failed, or when
Roost lost, doubled or misplaced anything.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.settings import ROOT
from loadtest.bench.machine import facts
from loadtest.flock.members import DESCRIPTORS
from loadtest.peers import report as reports
from loadtest.peers.run import rounds
from loadtest.peers.size import Size


def measure(size: Size, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run it all; give the report, which stands in the folder then."""
    out.mkdir(parents=True, exist_ok=True)
    machine, began, start = facts(), time.strftime("%Y-%m-%d %H:%M"), time.monotonic()
    found = rounds(size, say)
    made = reports.figures(found, size)
    report = {
        "began": began,
        "took_seconds": round(time.monotonic() - start, 1),
        "machine": machine,
        "size": asdict(size),
        "of_nats": reports.ratios(made),
        "figures": made,
        "peers": found,
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "report.md").write_text(reports.page(report, size))
    for name, plot in reports.plots(made, found, size).items():
        (out / name).write_text(plot)
    return report


def into_docs(out: Path, docs: Path) -> None:
    """Put a report and its plots into the documentation."""
    words = (out / "report.md").read_text()
    for plot in sorted(out.glob("*.svg")):
        (docs / "images" / plot.name).write_text(plot.read_text())
        words += f"\n![{plot.stem}](images/{plot.name})\n"
    page = docs / "performance.md"
    page.write_text(reports.placed(page.read_text(), words))


def failures(report: dict[str, Any]) -> list[str]:
    """Give what makes the run fail, in words."""
    words = [f"{name} failed" for name, peer in report["peers"].items() if peer["failed"]]
    ours = report["figures"].get("roost", {})
    words += [f"Roost: {ours[name]} {name}" for name in reports.WRONG if ours.get(name)]
    return words


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers")
    parser.add_argument("changes", nargs="*", metavar="name=value")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "peers")
    parser.add_argument("--docs", action="store_true", help="put the figures into docs/performance.md")
    asked = parser.parse_args(words)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS), hard))
    try:
        report = measure(Size().changed(asked.changes), asked.out, lambda line: print(line, flush=True))
    except ValueError as error:
        parser.error(str(error))
    if asked.docs:
        into_docs(asked.out, ROOT / "docs")
    print((asked.out / "report.md").read_text())
    failed = failures(report)
    for failure in failed:
        print(f"FAILED: {failure}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
