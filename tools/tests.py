"""`make test`: all tests, in two processes at a time.

Tests on real clusters wait most of their time, for processes to come back or to stay
frozen; the others compute. So the jobs, each a pytest of its own, are taken by two
workers, the longest first. With arguments it is plain pytest.
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
SLOWEST = ("--durations=10", "--durations-min=5")
WORKERS = 2
CLUSTER = Path("tests/cluster")
LONGEST = ("test_torture", "test_kills", "test_frozen", "test_carriers", "test_bad_input")
"""Of the files in tests/cluster; begun first, so that no worker ends long before the other."""


@dataclass(frozen=True)
class Job:
    """One pytest."""

    name: str
    arguments: tuple[str, ...]

    def run(self) -> int:
        """Run it, print what it said once it is over; give its exit code."""
        began = time.monotonic()
        command = [*PYTEST, "-q", *SLOWEST, *self.arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        head = f"\n== {self.name} ({time.monotonic() - began:.0f} s)\n"
        sys.stdout.buffer.write(head.encode() + done.stdout)
        sys.stdout.buffer.flush()
        return done.returncode


def jobs() -> list[Job]:
    """Give all of them, in the order in which they are begun."""
    files = sorted(path.relative_to(ROOT) for path in (ROOT / CLUSTER).glob("test_*.py"))
    long = [str(path) for path in files if path.stem in LONGEST]
    short = [str(path) for path in files if path.stem not in LONGEST]
    apart = (str(CLUSTER), "tests/loadtest", "tests/clients")
    rest = Job("all but clusters and load tests", tuple(f"--ignore={folder}" for folder in apart))
    return [rest, *(Job(one, (one,)) for one in [*long, *apart[1:], *short])]


def main(arguments: list[str]) -> int:
    """Run the tests; give the largest exit code."""
    if arguments:
        return subprocess.run([*PYTEST, *arguments], cwd=ROOT).returncode
    with ThreadPoolExecutor(WORKERS) as workers:
        running = [(job, workers.submit(job.run)) for job in jobs()]
        codes = {job.name: future.result() for job, future in running}
    failed = [name for name, code in codes.items() if code]
    print(f"\nfailed: {', '.join(failed)}" if failed else f"\nall {len(codes)} jobs passed")
    return max(codes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
