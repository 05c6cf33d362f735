"""`make test`: all tests, in two processes at a time.

Tests on real clusters wait most of their time, for processes to come back or to stay
frozen; the others compute. So the jobs, each a pytest of its own, are taken by two
workers, the longest first. `--types DIRECTORY …` has mypy beside them; with other arguments
it is plain pytest.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common.settings import ROOT

PYTEST = (sys.executable, "-m", "pytest")
MYPY = (sys.executable, "-m", "mypy")
TYPES = "--types"
SLOWEST = ("-q", "--durations=10", "--durations-min=5")
WORKERS = 2
CLUSTER = Path("tests/cluster")
SHARED = CLUSTER / "shared"
"""Files that share one cluster, so they are one job."""
LONGEST = ("test_kills", "test_frozen", "test_torture")
"""Of the files in tests/cluster; begun first, so that no worker ends long before the other."""


@dataclass(frozen=True)
class Job:
    """One program that passes or fails."""

    name: str
    command: tuple[str, ...]

    def run(self) -> int:
        """Run it, print what it said once it is over; give its exit code."""
        began = time.monotonic()
        done = subprocess.run(self.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        head = f"\n== {self.name} ({time.monotonic() - began:.0f} s)\n"
        sys.stdout.buffer.write(head.encode() + done.stdout)
        sys.stdout.buffer.flush()
        return done.returncode


def tests() -> list[Job]:
    """Give all tests, in the order in which they are begun."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / CLUSTER).glob("test_*.py"))
    long = [str(CLUSTER / f"{stem}.py") for stem in LONGEST]
    short = [str(path) for path in files if path.stem not in LONGEST]
    apart = (str(CLUSTER), "tests/loadtest", "tests/clients")
    rest = tuple(f"--ignore={folder}" for folder in apart)
    benches = "tests/loadtest/test_bench.py"
    return [
        _pytest("all but clusters and load tests", *rest),
        _pytest("tests/loadtest without benches", "tests/loadtest", f"--ignore={benches}"),
        *(_pytest(one, one) for one in [*long, benches, str(SHARED), "tests/clients", *short]),
    ]


def _pytest(name: str, *arguments: str) -> Job:
    return Job(name, (*PYTEST, *SLOWEST, *arguments))


def main(arguments: list[str]) -> int:
    """Run the tests; give the largest exit code."""
    if arguments and arguments[0] != TYPES:
        return subprocess.run([*PYTEST, *arguments], cwd=ROOT).returncode
    types = [Job("mypy", (*MYPY, *arguments[1:]))] if arguments else []
    with ThreadPoolExecutor(WORKERS) as workers:
        running = [(job, workers.submit(job.run)) for job in [*types, *tests()]]
        codes = {job.name: future.result() for job, future in running}
    failed = [name for name, code in codes.items() if code]
    print(f"\nfailed: {', '.join(failed)}" if failed else f"\nall {len(codes)} jobs passed")
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
