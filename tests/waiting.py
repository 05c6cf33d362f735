"""Waiting in tests: for what must come soon, and no longer than it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

STEP = 0.005


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Let other greenlets run until `condition()` is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        gevent.sleep(STEP)


def pause(seconds: float) -> None:
    """Let other greenlets run for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        gevent.sleep(STEP)


def stand_still(seconds: float) -> None:
    """Let nothing in this process run for so long, as when the machine has no time for it."""
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        pass
