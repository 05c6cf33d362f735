"""What the crowd does besides coming and going: each doing with how often.

Names, rooms and receivers are from bounded sets; only idempotency keys are new each time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from loadtest.soak.device import Line

if TYPE_CHECKING:
    from loadtest.soak.crowd import Crowd

DATA = "x" * 80
VISITED = 20
MOODS = 5
MOODY = 60
"""Devices that change their profile."""
SEVERAL = 0.3
"""Share of kept messages that go to three users at once."""
RECEIPTS = 0.2


def publish(crowd: Crowd, line: Line, now: float) -> None:
    """Say something in the room the device is at home in."""
    home, _ = line.device.rooms
    crowd.send(line, line.request("publish", {"room": home, "data": DATA}, now))


def publish_durably(crowd: Crowd, line: Line, now: float) -> None:
    """Say something in its durable room."""
    _, durable = line.device.rooms
    body = {"room": durable, "data": DATA, "key": key(crowd)}
    crowd.send(line, line.request("publish", body, now))


def keep(crowd: Crowd, line: Line, now: float) -> None:
    """Send a kept message to one user, or to three."""
    several = crowd.random.random() < SEVERAL
    users = min(crowd.plan.receivers, crowd.plan.devices // 2)
    to = [f"u{crowd.random.randrange(users)}" for _ in range(3 if several else 1)]
    body = {"to": list(set(to)), "data": DATA, "keep": True, "ttl": crowd.plan.ttl, "key": key(crowd)}
    body["receipt"] = crowd.random.random() < RECEIPTS
    crowd.send(line, line.request("send", body, now))


def tell(crowd: Crowd, line: Line, now: float) -> None:
    """Send a message that is not kept."""
    uid = f"u{crowd.random.randrange(crowd.plan.devices // 2)}"
    crowd.send(line, line.request("send", {"to": [uid], "data": DATA}, now))


def visit(crowd: Crowd, line: Line, now: float) -> None:
    """Go to another room, or leave it."""
    if line.visiting:
        room, line.visiting = line.visiting, ""
        crowd.send(line, line.request("leave", {"room": room}, now))
    else:
        line.visiting = f"plaza/visit.{crowd.random.randrange(VISITED)}"
        crowd.send(line, line.request("join", {"room": line.visiting}, now))


def look(crowd: Crowd, line: Line, now: float) -> None:
    """Ask who is in the room, and what is kept: of the room, and for oneself."""
    home, durable = line.device.rooms
    crowd.send(line, line.request("presence", {"room": home}, now))
    crowd.send(line, line.request("history", {"room": durable, "limit": 20}, now))
    crowd.send(line, line.request("inbox", {"after": 0, "limit": 10}, now))


def change(crowd: Crowd, line: Line, now: float) -> None:
    """Have one of a few set a field of its profile."""
    moody = crowd.devices[crowd.random.randrange(min(MOODY, len(crowd.devices)))].line
    if moody is not None and not moody.leaving:
        mood = f"mood {crowd.random.randrange(MOODS)}"
        crowd.send(moody, moody.request("profile", {"set": {"mood": mood}}, now))


def key(crowd: Crowd) -> str:
    """Give an idempotency key nobody has used."""
    crowd.number += 1
    return f"k{crowd.number}"


Doing = Callable[["Crowd", Line, float], None]
DOINGS: dict[str, tuple[float, Doing]] = {
    "published": (0.1, publish),
    "published durably": (0.02, publish_durably),
    "kept messages": (0.1, keep),
    "live messages": (0.02, tell),
    "visits": (0.1, visit),
    "looks": (0.015, look),
    "profiles": (0.005, change),
}
"""Name in the report -> (times per reconnect, what is done)."""
