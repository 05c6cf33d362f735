"""Locust users against a real cluster: a few by the Python client, and flocks of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from locust.env import Environment
from locust.event import Events

from common.settings import ROOT
from loadtest.locustfile import Talker
from loadtest.order import Order
from roost_client import Message
from tests.cluster.cluster import Cluster

USERS = 6
FLOCK = 20
PATHS = os.pathsep.join(["clients/python/src", str(ROOT)])


def run_locust(
    cluster: Cluster, file: str, users: int, seconds: int, *words: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run some users for some seconds; give the exit code and the statistics by name."""
    host, port = cluster.tcp()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", f"loadtest/{file}", "--headless", "--json"]
        + ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--host", f"{host}:{port}"]
        + ["--run-dir", str(cluster.run_dir), "--rooms", "2", *words],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": PATHS},
        capture_output=True,
        timeout=60,
        check=False,
    )
    rows = json.loads(done.stdout[done.stdout.index(b"[") :])
    return done.returncode, {row["name"]: row for row in rows}


def test_users_over_all_gateways_hear_their_rooms_in_order_and_nothing_is_lost(cluster: Cluster) -> None:
    code, rows = run_locust(cluster, "locustfile.py", USERS, 3, "--publish-every", "0.1")
    assert code == 0
    assert rows["connect"]["num_requests"] == USERS
    assert rows["join"]["num_requests"] == USERS
    assert rows["publish"]["num_requests"] >= USERS * 2
    assert rows["own message"]["num_requests"] >= rows["publish"]["num_requests"]
    assert "order" not in rows


def test_a_user_may_be_a_flock_whose_clients_are_counted_like_requests(cluster: Cluster) -> None:
    words = ("--flock-size", str(FLOCK), "--publish-rate", "10", "--ping-every", "0.5")
    code, rows = run_locust(cluster, "swarm.py", 2, 6, *words)
    assert code == 0, rows
    assert rows["login"]["num_requests"] == 2 * FLOCK
    assert rows["heartbeat"]["num_requests"] >= 2 * FLOCK
    assert rows["publish"]["num_requests"] >= 10
    assert rows["delivery"]["num_requests"] >= (rows["publish"]["num_requests"] - 4) * FLOCK
    assert rows["lag"]["method"] == "client"
    assert not any(row["num_failures"] for row in rows.values())


def test_a_message_out_of_order_is_a_failure_locust_counts() -> None:
    environment = Environment(user_classes=[Talker], events=Events())
    failures = []
    environment.events.request.add_listener(lambda **request: failures.append(request["exception"]))
    user = Talker(environment)
    user.uid, user.order = "anna", Order()
    for offset in (1, 2, 4):
        user._heard(Message("plaza/a", 1, offset, "ben", {}, 0))
    assert [str(failure) for failure in failures] == ["plaza/a: offset 4 after 2"]
