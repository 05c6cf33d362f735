"""One repetition: a server is started, gets its clients, is driven, and ended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loadtest.bench.commands import Commanded
from loadtest.bench.machine import rss_bytes
from loadtest.peers.peer import Running
from loadtest.peers.size import Layout, Size
from loadtest.peers.table import PEERS

SETTLE = 0.3
"""Seconds of quiet before the first message; in the layout whose memory is read it is longer."""


def repetition(name: str, size: Size) -> dict[str, Any]:
    """Give what was measured of a server, by layout.

    Raises:
        RuntimeError: it did not start, or its clients did not come in.
    """
    with tempfile.TemporaryDirectory(prefix="peers-", dir="/tmp") as folder:
        running = PEERS[name]().start(Path(folder))
        try:
            return {layout.name: _drive(name, running, layout, size) for layout in size.layouts}
        finally:
            running.stop()


def _drive(name: str, running: Running, layout: Layout, size: Size) -> dict[str, Any]:
    count = layout.topics * layout.subscribers
    is_first = layout.name == size.layouts[0].name
    plan = {
        "peer": name,
        "port": running.port,
        "options": running.options,
        "pids": running.pids,
        "layout": layout.name,
        "topics": layout.topics,
        "subscribers": layout.subscribers,
        "first": 0 if is_first else size.subscribers,
        "bytes": size.bytes,
        "window": size.window,
    }
    before = _memory(running.pids)
    with Commanded("loadtest.peers.client", plan) as client:
        found: dict[str, Any] = {"subscribers": count, "enter": client.order("enter")["seconds"]}
        client.order("rest", seconds=size.settle if is_first else min(SETTLE, size.settle))
        after = _memory(running.pids)
        found["rss"] = {process: (held - before[process]) / count for process, held in after.items()}
        client.order("hello")
        if is_first:
            found["steady"] = {
                str(rate): client.order("steady", rate=rate, seconds=size.steady, warm_up=size.warm_up)
                for rate in size.rates
            }
        found["saturate"] = client.order("saturate", seconds=size.saturate, warm_up=size.warm_up)
    return found


def _memory(pids: Mapping[str, int]) -> dict[str, int]:
    return {name: rss_bytes(pid) for name, pid in pids.items()}


def rounds(size: Size, say: Callable[[str], None]) -> dict[str, Any]:
    """Give all repetitions of all peers that are here, by name: each once, then all again.

    What fails is said and noted (`failed`), and does not keep the others from their turn.
    """
    names = size.peers.split(",") if size.peers else list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise ValueError(f"no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    found: dict[str, Any] = {}
    for name in names:
        peer = PEERS[name]()
        version = peer.version()
        found[name] = {"title": peer.title, "version": version, "setting": peer.setting}
        found[name] |= {"install": peer.install, "rounds": [], "failed": []}
        if not version:
            say(f"{peer.title} is not here, it is left out; `{peer.install}` installs it")
    for number in range(1, size.rounds + 1):
        for name in (name for name in names if found[name]["version"]):
            try:
                told = repetition(name, size)
            except RuntimeError as error:
                found[name]["failed"].append(str(error))
                say(f"round {number}: {name} failed: {error}")
                continue
            found[name]["rounds"].append(told)
            say(f"round {number}: {name}: {_words(told)}")
    return found


def _words(told: Mapping[str, Any]) -> str:
    rates = (
        f"{taken['deliveries'] / taken['seconds']:,.0f}/s in {layout}"
        for layout, taken in ((layout, one["saturate"]) for layout, one in told.items())
    )
    return ", ".join(rates)
