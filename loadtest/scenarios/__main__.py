"""`make scenarios`: a cluster, and one scenario after the other against it.

    python -m loadtest.scenarios [chat push reconnects] [--seconds 30] [--flocks 4] [--workers 0] [-- …]

Options behind `--` are locust's and the scenarios' own, e.g. `-- --max-p99 delivery=100`. Starts its own
cluster and ends it; locust's pages are left in build/scenarios/. Exit code 1 when a threshold is broken.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from common.settings import ROOT
from tests.cluster.cluster import Cluster

SCENARIOS = ("chat", "push", "reconnects")
STOP_SECONDS = 120.0
OUT = ROOT / "build" / "scenarios"


def command(cluster: Cluster, scenario: str, flocks: int, seconds: float, words: list[str]) -> list[str]:
    """Give the command line of a scenario, without a page."""
    host, port = cluster.tcp()
    users = str(flocks + (scenario == "push"))
    return [
        *(sys.executable, "-m", "locust", "-f", f"loadtest/scenarios/{scenario}.py", "--headless"),
        *("-u", users, "-r", users, "-t", f"{seconds:g}s", "--host", f"{host}:{port}"),
        *("--gateways", str(cluster.settings.cluster.gateways), "--run-dir", str(cluster.run_dir), *words),
    ]


def environment() -> dict[str, str]:
    """Give the environment of a locust: ours, without what names another cluster."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
    return kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), "clients/python/src"])}


def run(whole: list[str], workers: int, seconds: float) -> int:
    """Run a locust, distributed over worker processes if there are any; give its exit code."""
    helpers = []
    if workers:
        port, file = str(_free_port()), whole[: whole.index("--headless")]
        whole = [*whole, "--master", "--master-bind-port", port, "--expect-workers", str(workers)]
        worker = [*file, "--worker", "--master-port", port, "--loglevel", "WARNING"]
        helpers = [subprocess.Popen(worker, cwd=ROOT, env=environment()) for _ in range(workers)]
    try:
        return subprocess.run(whole, cwd=ROOT, env=environment(), timeout=seconds + STOP_SECONDS).returncode
    finally:
        for helper in helpers:
            helper.terminate()
            helper.wait(STOP_SECONDS)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def main(words: list[str]) -> int:
    """Run what is asked for; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.scenarios")
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--flocks", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0, help="locust processes beside the master")
    cut = words.index("--") if "--" in words else len(words)
    asked = parser.parse_args(words[:cut])
    unknown = set(asked.names) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {unknown.pop()!r}; there are {', '.join(SCENARIOS)}")
    OUT.mkdir(parents=True, exist_ok=True)
    cluster, failed = Cluster(), []
    try:
        cluster.wait_ready()
        for name in asked.names or SCENARIOS:
            page = ["--html", str(Path(OUT, f"{name}.html"))]
            whole = command(cluster, name, asked.flocks, asked.seconds, page + words[cut + 1 :])
            if run(whole, asked.workers, asked.seconds):
                failed.append(name)
    finally:
        cluster.stop()
    print(f"failed: {', '.join(failed)}" if failed else f"all kept; pages in {OUT}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
