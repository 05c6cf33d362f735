"""A small process on the real kernel, for tests: `python -m tests.common.net.tiny_server INDEX`.

TINY_FAULT in the environment names one thing that goes wrong.
"""

from __future__ import annotations

# isort: off
import servers  # noqa: F401 - the standard library is patched before anything else is imported

# isort: on

import os
import time
from typing import Any

import gevent

from common.errors import ConfigError
from common.handlers import Handlers
from common.net.peer import Peer
from common.net.process import Process, Service, main

RPC = Handlers("tiny rpc")
LINK = Handlers("tiny link")
FAULT = os.environ.get("TINY_FAULT", "")


class Tiny(Service):
    """Remembers what happened to it, each with the term it happened in."""

    RPC = RPC
    LINK = LINK

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.events: list[list[Any]] = []
        if FAULT == "settings":
            raise ConfigError("tiny.setting = 7: must be 8")

    def note(self, *event: Any) -> None:
        self.events.append([self.process.term, *event])

    def peers(self) -> tuple[str, ...]:
        return self.process.places.gateways

    def start(self) -> None:
        if FAULT == "start":
            raise ZeroDivisionError("two\nlines")
        if FAULT == "slow start":
            gevent.sleep(0.5)
        if FAULT == "greenlet":
            gevent.spawn(lambda: [][7])
        self.note("start")

    def stop(self) -> None:
        if FAULT == "slow stop":
            gevent.sleep(0.5)

    def fenced(self) -> None:
        self.note("fenced")
        if FAULT == "fenced":
            raise ValueError("cannot be fenced")

    def link_up(self, peer: str) -> None:
        self.note("up", peer)

    def link_down(self, peer: str) -> None:
        self.note("down", peer)


@RPC.on("events")
def events(service: Tiny) -> list[list[Any]]:
    return service.events


@RPC.on("die")
def die(service: Tiny) -> None:
    service.process.tasks.spawn("heart", lambda: 1 // 0, core=True)


@RPC.on("stand still")
def stand_still(service: Tiny, seconds: float) -> None:
    service.process.tasks.spawn("blocked", block, seconds)


def block(seconds: float) -> None:
    """Keep the loop from running."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@LINK.on("item")
def item(service: Tiny, peer: Peer, value: Any) -> None:
    service.note("item", value)


if __name__ == "__main__":
    main("world", Tiny)
