"""Orders of the benches that are answered when they are done: a drill keeps the flock busy until then."""

from __future__ import annotations

import json
import time
from typing import Any

from loadtest.flock.flock import Flock
from loadtest.flock.packets import PING_PACKET, PUBLISH, packet


def _turn(flock: Flock, until: float) -> None:
    """Go on, within the time.

    Raises:
        TimeoutError: it is over; with the counts so far.
    """
    if time.monotonic() > until:
        raise TimeoutError(json.dumps(flock.report()))
    flock.turn()


def login(flock: Flock) -> dict[str, Any]:
    """Connect all clients and, unless raw, log each in and join its room."""
    began, cpu = time.monotonic(), time.process_time()
    flock.begin()
    while flock.here < flock.plan.count:
        _turn(flock, began + flock.plan.patience)
    seconds = time.monotonic() - began
    return {"clients": flock.here, "seconds": seconds, "cpu": time.process_time() - cpu}


def rounds(flock: Flock, rounds: int, gathered: int, bytes: int) -> dict[str, Any]:
    """Have the first client publish `gathered` messages at once, `rounds` times.

    A round begins when every client has all of the one before. Raw: one byte of the
    first client makes the server send a message to each.
    """
    plan, ledger = flock.plan, flock.ledger
    body = {"room": plan.room_name(plan.room_number(0)), "data": "x" * bytes}
    words = b"!" if plan.raw else packet("publish", PUBLISH, body) * gathered
    messages, octets, reads = ledger.messages, flock.octets, flock.reads
    began, cpu = time.monotonic(), time.process_time()
    for number in range(1, rounds + 1):
        flock.write(0, words)
        while ledger.messages - messages < number * gathered * plan.count:
            _turn(flock, began + plan.patience)
    return {
        "messages": ledger.messages - messages,
        "octets": flock.octets - octets,
        "reads": flock.reads - reads,
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
    }


def echo(flock: Flock, seconds: float) -> dict[str, Any]:
    """Every client keeps one ping under way (a bare server sends it back); give the round trips."""
    began, before = time.monotonic(), flock.reads
    flock.echoes = True
    for slot in range(flock.plan.count):
        flock.write(slot, PING_PACKET)
    while time.monotonic() < began + seconds:
        _turn(flock, began + flock.plan.patience)
    trips, taken = flock.reads - before, time.monotonic() - began
    flock.echoes = False
    last = flock.reads + flock.here
    while flock.reads < last:
        _turn(flock, began + flock.plan.patience)
    return {"trips": trips, "seconds": taken}


def hear(flock: Flock, count: int) -> dict[str, Any]:
    """Read until so many messages to users have come in all; give the monotonic time of the last."""
    until = time.monotonic() + flock.plan.patience
    while flock.ledger.counts["inbox"] < count:
        _turn(flock, until)
    return {"at": time.monotonic()}


def rest(flock: Flock, seconds: float) -> dict[str, Any]:
    """Say nothing for so long; go on reading."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        flock.turn(0.05)
    return {}
