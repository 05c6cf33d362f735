"""`make c1000k`, `make c100k`: a cluster, its million clients, and the report.

    python -m loadtest.c1000k c100k [name=value …] [--out build/c100k] [--web 8089]

Names are those of loadtest/c1000k/size.py. Starts its own cluster (conf/c1000k.toml, free ports,
a folder of its own) and ends it. Leaves in `--out`: report.json, the figures; index.html, to
read; details.json, all that was seen; logs. Exit code 1 when anything was lost, doubled, out of
order or not complete.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - patched before anything else is imported
import json  # noqa: E402
import logging  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from common.net import log  # noqa: E402
from common.settings import ROOT  # noqa: E402
from loadtest.bench.machine import facts  # noqa: E402
from loadtest.c1000k.page import page  # noqa: E402
from loadtest.c1000k.report import failures, figures, missed  # noqa: E402
from loadtest.c1000k.run import Run  # noqa: E402
from loadtest.c1000k.size import SIZES, Size  # noqa: E402
from tests.cluster.cluster import Cluster  # noqa: E402

CONF = ROOT / "conf" / "c1000k.toml"
READY_SECONDS = 300.0


def measure(size: Size, out: Path, say: Callable[[str], None], web_port: int = 0) -> tuple[Any, Any]:
    """Run it all; give report and details, which stand in the folder then."""
    out.mkdir(parents=True, exist_ok=True)
    machine, began = facts(), time.strftime("%Y-%m-%d %H:%M")
    say(f"starting {size.gateways} gateways and the rest")
    cluster = Cluster({"cluster.gateways": size.gateways}, CONF)
    details: dict[str, Any] = {
        "began": began,
        "machine": machine,
        "commit": machine["commit"],
        "connections": size.connections,
    }
    try:
        cluster.wait_ready(READY_SECONDS)
        run = Run(cluster, size, say, web_port)
        try:
            run.run()
        finally:  # of a run that was stopped, too
            details |= run.details()
            (out / "details.json").write_text(json.dumps(details))
    finally:
        shutil.copytree(cluster.run_dir / "log", out / "log", dirs_exist_ok=True)
        cluster.stop()
    report = figures(details)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "index.html").write_text(page(details, report))
    return report, details


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.c1000k")
    parser.add_argument("name", choices=SIZES)
    parser.add_argument("changes", nargs="*", metavar="name=value")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--web", type=int, default=0, metavar="PORT", help="serve locust's page")
    asked = parser.parse_args(words)
    del sys.argv[1:]  # locust's page would read them as its own
    try:
        size = SIZES[asked.name].changed(asked.changes)
    except ValueError as error:
        parser.error(str(error))
    log.setup("error", "c1000k")
    logging.getLogger("locust").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out = asked.out or ROOT / "build" / asked.name
    report, details = measure(size, out, lambda line: print(line, flush=True), asked.web)
    print(json.dumps(report, indent=1))
    for words_of in missed(report, details):
        print(f"not reached: {words_of}")
    failed = failures(report, details)
    for failure in failed:
        print(f"FAILED: {failure}")
    print(f"{'failed' if failed else 'passed'}: {out / 'index.html'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
