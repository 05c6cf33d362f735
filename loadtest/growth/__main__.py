"""`make growth`: the same cluster and the same work at several sizes, and what one of each costs.

    python -m loadtest.growth [10000 30000 100000 300000] [name=value …] [--out build/growth]

Names are those of loadtest/c1000k/size.py. For each size it starts a cluster of its own
(conf/c1000k.toml, a gateway for each --per-gateway connections), has a few clients come and go, and then
goes through idle ─▶ connect ─▶ hold ─▶ rooms ─▶ end. Leaves in `--out`: report.json, report.md,
growth.svg; <size>.json, all that was seen. Exit code 1 when something was lost, doubled, out of order or
not complete, or a cost is not flat.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - patched before anything else is imported
import json  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import ExitStack  # noqa: E402
from math import ceil  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from common.net import log  # noqa: E402
from common.settings import ROOT  # noqa: E402
from loadtest.bench.clusters import plan  # noqa: E402
from loadtest.bench.commands import Commanded  # noqa: E402
from loadtest.bench.machine import facts  # noqa: E402
from loadtest.c1000k.__main__ import CONF, READY_SECONDS  # noqa: E402
from loadtest.c1000k.run import Run  # noqa: E402
from loadtest.c1000k.size import Size  # noqa: E402
from loadtest.growth import report as reports  # noqa: E402
from tests.cluster.cluster import Cluster  # noqa: E402

SIZES = (10_000, 30_000, 100_000, 300_000)
PER_GATEWAY = 10_000
PHASES = ("idle", "connect", "hold", "rooms", "end")
WARM = 50
"""Clients of each gateway that come and go before anything is measured."""
WARM_ROUNDS = 5
HOW: dict[str, Any] = {
    "ping_every": 25.0,
    "settle": 10.0,
    "hold": 30.0,
    "messages": 0.0,
    "unicasts": 0.0,
    "rush_messages": 20.0,
}


def size_of(connections: int, per_gateway: int, changes: list[str]) -> Size:
    """Give how large a run with so many connections is."""
    gateways = ceil(connections / per_gateway)
    return Size(connections=connections, gateways=gateways, **HOW).changed(changes)


def measure(size: Size, say: Callable[[str], None]) -> dict[str, Any]:
    """Go through the phases at one size; give all that was seen."""
    say(f"── {size.connections:,} connections: starting {size.gateways} gateways and the rest")
    cluster = Cluster({"cluster.gateways": size.gateways}, CONF)
    try:
        cluster.wait_ready(READY_SECONDS)
        _warm_up(cluster, size.gateways)
        run = Run(cluster, size, say)
        run.run(PHASES)
        return {"connections": size.connections, "gateways": size.gateways, **run.details()}
    finally:
        cluster.stop()


def _warm_up(cluster: Cluster, gateways: int) -> None:
    """Have clients log in, talk and leave at every gateway: what a process allocates once is not growth."""
    with ExitStack() as stack:
        flocks = []
        for index in range(gateways):
            more = {"port": cluster.places.tcp_port(index), "first": index * WARM}
            who = plan(cluster, WARM, rooms_of=WARM, product="warm") | more
            flocks.append(stack.enter_context(Commanded("loadtest.flock", who)))
        for order in ({"do": "login"}, {"do": "rounds", "rounds": WARM_ROUNDS, "gathered": 1, "bytes": 64}):
            for flock in flocks:
                flock.begin(**order)
            for flock in flocks:
                flock.answer()


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.growth")
    parser.add_argument("words", nargs="*", metavar="CONNECTIONS or name=value")
    parser.add_argument("--per-gateway", type=int, default=PER_GATEWAY)
    parser.add_argument("--tolerance", type=float, default=reports.TOLERANCE, help="share of the mean")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "growth")
    asked = parser.parse_args(words)
    changes = [word for word in asked.words if not word.isdecimal()]
    try:
        counts = [int(word) for word in asked.words if word.isdecimal()] or list(SIZES)
        sizes = [size_of(count, asked.per_gateway, changes) for count in counts]
    except ValueError as error:
        parser.error(str(error))
    log.setup("error", "growth")
    logging.getLogger("locust").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked.out.mkdir(parents=True, exist_ok=True)
    machine, began, runs = facts(), time.strftime("%Y-%m-%d %H:%M"), []
    for size in sizes:
        seen = measure(size, lambda line: print(line, flush=True))
        (asked.out / f"{size.connections}.json").write_text(json.dumps(seen))
        runs.append(seen)
        print(json.dumps(reports.costs(seen)), flush=True)
    report = _write(runs, asked.tolerance, asked.out, {"began": began, "machine": machine})
    print((asked.out / "report.md").read_text())
    flat = all(one["flat"] for one in report["verdicts"].values())
    return 0 if flat and not report["wrong"] else 1


def _write(runs: list[dict[str, Any]], tolerance: float, out: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Leave report and plot in the folder; give the report."""
    sizes = [reports.costs(run) for run in runs]
    report = {
        **about,
        "commit": about["machine"]["commit"],
        "tolerance": tolerance,
        "sizes": sizes,
        "verdicts": {name: one._asdict() for name, one in reports.verdicts(sizes, tolerance).items()},
        "cpu_seconds": {
            str(run["connections"]): {phase: reports.cpu_by_group(run, phase) for phase in PHASES}
            for run in runs
        },
        "wrong": [words for run in runs for words in reports.wrong(run)],
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "report.md").write_text(reports.markdown(report))
    (out / "growth.svg").write_text(reports.plot(sizes, tolerance))
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
