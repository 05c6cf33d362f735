"""`make bots`: the arena, in one world process, with more and more bots; what the cluster makes of them.

    python -m loadtest.bots.growth [100 500 1000 2000] [--seconds 20] [--out build/bots]

Starts a cluster of its own and ends it. Leaves report.json, report.md and two plots in `--out`. Exit code 1
when bots were told what is not so, stayed away, or a figure at the largest size is beyond its bound.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.settings import ROOT
from loadtest.bench.machine import facts
from loadtest.plots import ALONE, alone, chart
from tests.cluster.cluster import Cluster
from tools.bots import is_well, measure

SIZES = (100, 500, 1_000, 2_000)
MAP = "arena"
SETTINGS = {
    "cluster.maps": {MAP: 1},
    "cluster.gateways": 2,
    "cluster.sessions": 1,
    "cluster.dbservers": 1,
}
READY_SECONDS = 120.0
STYLE = ALONE + "polyline{fill:none;stroke-width:1.6}"


class Bound(NamedTuple):
    """What a figure may be: at most `limit`, or at least where `least` is set."""

    words: str
    limit: float
    least: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a value is within."""
        return value >= self.limit if self.least else value <= self.limit


BOUNDS = {
    "in_view_mean": Bound("others in view, mean", 15.0, least=True),
    "tick_p99_ms": Bound("tick, scheduled start to last publish, p99, ms", 100.0),
    "overruns": Bound("ticks skipped", 0),
    "input_to_state_p99_ms": Bound("input to state at the bot, p99, ms", 250.0),
}


def failures(sizes: Sequence[dict[str, Any]]) -> list[str]:
    """Say what should not be; the bounds are those of the largest size."""
    said = [f"{found['bots']:,} bots: {found['here']:,} here, {found['wrong']:,} wrong" for found in sizes]
    said = [words for words, found in zip(said, sizes, strict=True) if not is_well(found)]
    largest = sizes[-1]
    return said + [
        f"{largest['bots']:,} bots: {bound.words}: {largest[name]}"
        for name, bound in BOUNDS.items()
        if not bound.holds(largest[name])
    ]


def cpu_of(found: dict[str, Any], group: str) -> float:
    """Give how many processors a group of processes took."""
    cpu: dict[str, float] = found["cpu"]
    return round(sum(cores for name, cores in cpu.items() if name.startswith(group)), 3)


def markdown(report: dict[str, Any]) -> str:
    """Give the report to read."""
    sizes, machine = report["sizes"], report["machine"]
    rows = {bound.words: [found[name] for found in sizes] for name, bound in BOUNDS.items()}
    rows |= {f"processors, {group}": [cpu_of(found, group) for found in sizes] for group in GROUPS}
    rows["places compared with the truth"] = [found["compared"] for found in sizes]
    rows["of them wrong"] = [found["wrong"] for found in sizes]
    rows["inputs a second"] = [found["inputs_per_second"] for found in sizes]
    rows["the bots' own lateness, p99, ms"] = [found["bots_lag_p99_ms"] for found in sizes]
    table = [
        f"| bots | {' | '.join(format(found['bots'], ',') for found in sizes)} |",
        "|---" * (len(sizes) + 1) + "|",
    ]
    table += [
        f"| {words} | {' | '.join(f'{value:,}' for value in values)} |" for words, values in rows.items()
    ]
    wrong = "\n".join(f"* {words}" for words in report["failures"]) or "All within their bounds."
    return (
        f"# Bots in the arena, {sizes[0]['bots']:,} to {sizes[-1]['bots']:,}\n\n"
        f"One world process, {SETTINGS['cluster.gateways']} gateways, all bots in one process beside them; "
        f"{report['seconds']:.0f} s at each size. Commit `{machine['commit']}`; {machine['cores']} cores, "
        f"{machine['ram_mib'] / 1024:.0f} GiB, Linux {machine['kernel']}, CPython {machine['python']}; "
        f"{report['began']}.\n\n" + "\n".join(table) + f"\n\n{wrong}\n\n"
        "![tick and input to state](times.svg)\n\n![processors](cpu.svg)\n"
    )


GROUPS = ("world", "gateway")


def plots(sizes: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Give the plots: file name -> SVG."""
    times = {
        words: [(found["bots"], found[name]) for found in sizes]
        for name, words in (("tick_p99_ms", "tick p99"), ("input_to_state_p99_ms", "input to state p99"))
    }
    cpu = {group: [(found["bots"], cpu_of(found, group)) for found in sizes] for group in GROUPS}
    return {
        "times.svg": alone(chart("Tick, and input to state", "ms", times, {}, along=""), STYLE),
        "cpu.svg": alone(chart("Processors", "cores", cpu, {}, along=""), STYLE),
    }


def run(counts: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Give what was found at each size."""
    cluster = Cluster(SETTINGS)
    try:
        cluster.wait_ready(READY_SECONDS)
        sizes = []
        for count in counts:
            sizes.append(measure(cluster.settings, MAP, count, seconds, "demo"))
            print(json.dumps(sizes[-1]), flush=True)
        return sizes
    finally:
        cluster.stop()


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bots.growth")
    parser.add_argument("counts", nargs="*", type=int, metavar="BOTS", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bots")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked.out.mkdir(parents=True, exist_ok=True)
    began, machine = time.strftime("%Y-%m-%d %H:%M"), facts()
    sizes = run(asked.counts or SIZES, asked.seconds)
    report = {"began": began, "machine": machine, "seconds": asked.seconds, "sizes": sizes}
    report["failures"] = failures(sizes)
    (asked.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (asked.out / "report.md").write_text(markdown(report))
    for name, drawn in plots(sizes).items():
        (asked.out / name).write_text(drawn)
    print((asked.out / "report.md").read_text())
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
