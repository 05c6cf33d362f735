"""`make test`: all tests, in three processes at a time.

The jobs, each a pytest of its own, are taken by three workers. Two begin with those that
compute, the longest first, and one with those that wait most of their time, for processes to
come back or to stay frozen; then all three share the other files of tests on clusters.
`--types DIRECTORY …` has mypy among the jobs; with other arguments it is plain pytest.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common.settings import ROOT

PYTEST = (sys.executable, "-m", "pytest")
MYPY = (sys.executable, "-m", "mypy")
TYPES = "--types"
SLOWEST = ("-q", "--durations=10", "--durations-min=5")
COMPUTING = 2
"""Workers that begin with what computes: as many as CI has processors."""
CLUSTER = Path("tests/cluster")
SHARED = CLUSTER / "shared"
"""Files that share one cluster, so they are one job."""
WAITING = ("test_kills", "test_frozen", "test_torture")
"""Of the files in tests/cluster."""


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


def computing() -> list[Job]:
    """Give the jobs that compute, the longest first."""
    benches = "tests/loadtest/test_bench.py"
    apart = (str(CLUSTER), "tests/loadtest", "tests/clients")
    return [
        _pytest("all but clusters and load tests", *(f"--ignore={folder}" for folder in apart)),
        _pytest("tests/loadtest without benches", "tests/loadtest", f"--ignore={benches}"),
        _pytest(benches, benches),
        _pytest("tests/clients", "tests/clients"),
    ]


def waiting() -> list[Job]:
    """Give the jobs that wait more than they compute."""
    return [_pytest(name, name) for name in (str(CLUSTER / f"{stem}.py") for stem in WAITING)]


def others() -> list[Job]:
    """Give the other tests on clusters."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / CLUSTER).glob("test_*.py"))
    return [_pytest(name, name) for name in [str(SHARED), *(str(f) for f in files if f.stem not in WAITING)]]


def _pytest(name: str, *arguments: str) -> Job:
    return Job(name, (*PYTEST, *SLOWEST, *arguments))


def main(arguments: list[str]) -> int:
    """Run the tests; give the largest exit code."""
    if arguments and arguments[0] != TYPES:
        return subprocess.run([*PYTEST, *arguments], cwd=ROOT).returncode
    types = [Job("mypy", (*MYPY, *arguments[1:]))] if arguments else []
    first, shared = deque([*types, *computing()]), deque(others())
    with ThreadPoolExecutor(COMPUTING + 1) as workers:
        lanes = [workers.submit(_run_all, first, shared) for _ in range(COMPUTING)]
        lanes.append(workers.submit(_run_all, deque(waiting()), shared))
        codes = {name: code for lane in lanes for name, code in lane.result().items()}
    failed = [name for name, code in codes.items() if code]
    print(f"\nfailed: {', '.join(failed)}" if failed else f"\nall {len(codes)} jobs passed")
    return max(codes.values())


def _run_all(*queues: deque[Job]) -> dict[str, int]:
    """Run jobs of the first queue that has one until there are none; give their exit codes by name."""
    codes: dict[str, int] = {}
    for queue in queues:
        while True:
            try:
                job = queue.popleft()
            except IndexError:
                break
            codes[job.name] = job.run()
    return codes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
