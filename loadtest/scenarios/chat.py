"""Chat: rooms full of people, a few of whom talk. Thresholds: loadtest/scenarios/thresholds.py.

    PYTHONPATH=. .venv/bin/python -m locust -f loadtest/scenarios/chat.py --headless -u 4 -r 4 -t 1m \\
        --host 127.0.0.1:7000 --gateways 2 --flock-size 500 --rooms 40 --run-dir run

A user is a flock (loadtest/swarm.py); its clients log in, join one of the rooms, ping, and
publish at `--publish-rate` in all. With the defaults a room has 50 members, and a message 50 readers.
"""

from __future__ import annotations

from loadtest.scenarios import thresholds
from loadtest.scenarios.scenario import Scenario

thresholds.watch(
    "login=10000,publish=250,delivery=250,heartbeat=250",
    flock_size=500,
    rooms=40,
    publish_rate=20.0,
    ping_every=20.0,
)


class Chat(Scenario):
    """Members of rooms."""
