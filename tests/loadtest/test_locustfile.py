"""Locust users against a real cluster: a few by the Python client, flocks of them, and the scenarios."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.event import Events

from common.settings import ROOT
from loadtest.locustfile import Talker
from loadtest.order import Order
from loadtest.scenarios.__main__ import command, environment, run
from roost_client import Message
from tests.cluster.cluster import Cluster

USERS, PUBLISHES = 6, 5
FLOCK = 20
PATIENT = 30_000
"""ms; how fast it is, is not asked here."""


def run_locust(
    cluster: Cluster, file: str, users: int, seconds: int, *words: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run some users for some seconds; give the exit code and the statistics by name."""
    host, port = cluster.tcp()
    return run_command(
        [sys.executable, "-m", "locust", "-f", f"loadtest/{file}", "--headless"]
        + ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--host", f"{host}:{port}"]
        + ["--run-dir", str(cluster.run_dir), "--rooms", "2", *words]
    )


def run_command(whole: list[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run a locust; give the exit code and the statistics by name."""
    done = subprocess.run(
        [*whole, "--json"], cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False
    )
    rows = json.loads(done.stdout[done.stdout.index(b"[") :])
    return done.returncode, {row["name"]: row for row in rows}


def run_scenario(
    cluster: Cluster, name: str, *words: str, max_p99: str
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run a small scenario with 2 flocks; give the exit code and the statistics by name."""
    small = ("--flock-size", str(FLOCK), "--ping-every", "0.5", "--report-every", "0.5", *words)
    return run_command(command(cluster, name, 2, 4.0, [*small, "--max-p99", max_p99]))


def test_users_over_all_gateways_hear_their_rooms_in_order_and_nothing_is_lost(cluster: Cluster) -> None:
    words = ("--publish-every", "0.1", "--publishes", str(PUBLISHES))
    code, rows = run_locust(cluster, "locustfile.py", USERS, 50, *words)
    assert code == 0
    assert rows["connect"]["num_requests"] == USERS
    assert rows["join"]["num_requests"] == USERS
    assert rows["publish"]["num_requests"] == USERS * PUBLISHES
    assert rows["own message"]["num_requests"] == USERS * PUBLISHES
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


def test_chat_keeps_its_thresholds_when_all_is_well_and_the_run_fails_when_not(cluster: Cluster) -> None:
    easy = f"login={PATIENT},publish={PATIENT},delivery={PATIENT},heartbeat={PATIENT}"
    code, rows = run_scenario(cluster, "chat", "--rooms", "2", max_p99=easy)
    assert code == 0, rows
    assert rows["delivery"]["num_requests"] >= FLOCK
    code, rows = run_scenario(cluster, "chat", "--rooms", "2", max_p99="delivery=-1")
    assert code == 1
    assert not any(row["num_failures"] for row in rows.values())


def test_push_counts_what_the_application_servers_sent_and_the_users_heard(cluster: Cluster) -> None:
    easy = f"login={PATIENT},unicast={PATIENT},broadcast={PATIENT},heartbeat={PATIENT}"
    words = ("--broadcast-every", "0.5", "--max-error-share", "0.1")
    code, rows = run_scenario(cluster, "push", *words, max_p99=easy)
    assert code == 0, rows
    assert rows["unicast"]["num_requests"] >= 10
    assert rows["broadcast"]["num_requests"] >= 2 * FLOCK
    assert rows["broadcast sent"]["num_requests"] >= 1


def test_reconnecting_clients_miss_nothing_and_distributed_workers_tell_their_master_all(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = ["--flock-size", str(FLOCK), "--rooms", "2", "--storm-every", "0.5", "--storm-share", "0.3"]
    words += ["--report-every", "0.5", "--json-file", str(tmp_path / "rows")]
    words += ["--max-p99", f"login={PATIENT},reconnect={PATIENT},delivery={PATIENT}"]
    assert run(command(cluster, "reconnects", 2, 4.0, words), workers=2, seconds=4.0) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows["login"]["num_requests"] == 2 * FLOCK
    assert rows["reconnect"]["num_requests"] >= FLOCK
    assert rows["delivery"]["num_requests"] >= FLOCK


def test_a_message_out_of_order_is_a_failure_locust_counts() -> None:
    swarm = Environment(user_classes=[Talker], events=Events())
    failures = []
    swarm.events.request.add_listener(lambda **request: failures.append(request["exception"]))
    user = Talker(swarm)
    user.uid, user.order = "anna", Order()
    for offset in (1, 2, 4):
        user._heard(Message("plaza/a", 1, offset, "ben", {}, 0))
    assert [str(failure) for failure in failures] == ["plaza/a: offset 4 after 2"]
