"""`make test`: all tests, in two processes at once.

The tests of what clusters survive wait most of their time, for processes to come back
or to stay frozen; the others compute. Side by side they take little more than the
slower of the two. With arguments it is plain pytest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

from common.settings import ROOT

WAITING = ("tests/cluster",)
PYTEST = (sys.executable, "-m", "pytest")
SLOWEST = ("--durations=25", "--durations-min=2")


def main(arguments: list[str]) -> int:
    """Run pytest; give its exit code, the larger one of the two."""
    if arguments:
        return subprocess.run([*PYTEST, *arguments], cwd=ROOT).returncode
    computing = [f"--ignore={folder}" for folder in WAITING]
    with tempfile.TemporaryFile() as output:
        other = subprocess.Popen(
            [*PYTEST, *SLOWEST, *computing], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            code = subprocess.run([*PYTEST, *SLOWEST, *WAITING], cwd=ROOT).returncode
        finally:
            code_of_other = other.wait()
        output.seek(0)
        sys.stdout.buffer.write(output.read())
    return max(code, code_of_other)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
