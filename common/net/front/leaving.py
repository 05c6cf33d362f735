"""All clients of a gateway on their way out: told to go elsewhere, at a pace, and sent off in the end.

Source: docs/protocol.md, section 3.6; docs/operations.md, taking a gateway out.
"""

from __future__ import annotations

import time

from gevent import sleep

from common.net.front.connection import DOORS
from common.net.front.front import Front
from common.wire.codec import encode

AFTER_SECONDS = 5.0
"""Clients told to leave at a stop go at a random moment within so long at most."""
STEP = 0.05
LAST_WORDS = 0.5
"""How long requests that wait may take to bring their clients the last words."""
KICKED_AT_ONCE = 200
"""Connections ended between two turns of other greenlets."""


def tell_all(front: Front, to: dict[str, list[str]], within: float | None = None) -> None:
    """Tell everybody to leave, and whoever comes in from now on. Switches greenlets.

    Args:
        to: door -> gateways to go to by a like one, "host:port"; as far as they are known here.
        within: all are told in so many seconds, and leave in as many; None: at the pace of the
            settings, and each leaves when it is told.
    """
    body = {"reason": "drain", "after": min(AFTER_SECONDS, within or 0.0)}
    frames = {door: encode("goaway", 0, body | ({"to": to[door]} if to.get(door) else {})) for door in DOORS}
    front.entrance.goaway = frames
    connections = [one for one in front.connections.values() if one not in front.entrance]
    pace: float = front.settings.drain_per_second
    if within is not None:
        pace = max(pace, len(connections) / max(within, STEP))
    began = time.monotonic()
    for told, connection in enumerate(connections):
        while told >= pace * (time.monotonic() - began + STEP):
            sleep(STEP)
        connection.send(frames[connection.door])


def wait_for_all(front: Front, until: float) -> None:
    """Wait until nobody is left, at most until then, in monotonic seconds."""
    while front.connections and time.monotonic() < until:
        sleep(STEP)


def send_off(front: Front) -> None:
    """End all connections that are left; their clients may come back. Switches greenlets."""
    for number, connection in enumerate(list(front.connections.values()), 1):
        connection.kick("drain", "the gateway stops")
        if number % KICKED_AT_ONCE == 0:
            sleep(0)
    until = time.monotonic() + LAST_WORDS
    while front.polls.readers() and time.monotonic() < until:
        sleep(STEP / 10)
