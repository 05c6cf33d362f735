"""The client's tests once more, in a process with gevent's threads (or, under gevent, without)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PLAIN = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
PATCHED = f"from gevent import monkey; monkey.patch_all(); {PLAIN}"


def patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return bool(monkey is not None and monkey.is_module_patched("threading"))


def run(program: str) -> subprocess.CompletedProcess[str]:
    arguments = ["-q", "-W", "error", "--import-mode=importlib", "-p", "no:cacheprovider"]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments, str(HERE / "test_client.py"), str(HERE / "test_wire.py")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")},
    )


@pytest.mark.skipif(importlib.util.find_spec("gevent") is None, reason="gevent is not installed")
def test_the_client_works_with_the_other_kind_of_threads_too() -> None:
    done = run(PLAIN if patched() else PATCHED)
    assert done.returncode == 0, done.stdout + done.stderr
