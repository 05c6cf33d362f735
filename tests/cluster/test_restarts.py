"""supervisord brings back whatever dies, however often."""

from __future__ import annotations

import time

from tests.cluster.cluster import FULL, Cluster
from tests.cluster.raw import Raw

KILLS = 20
AWAY_SECONDS = 60.0 if FULL else 10.0
"""A minute in `make proof`; how long it is changes nothing in how supervisord treats it."""


def states(cluster: Cluster) -> set[str]:
    return {row["statename"] for row in cluster.supervised().values()}


def said(cluster: Cluster, name: str, words: str) -> int:
    return (cluster.run_dir / "log" / f"{name}.log").read_text().count(words)


def test_a_process_killed_twenty_times_in_a_row_comes_back(cluster: Cluster) -> None:
    for _ in range(KILLS):
        cluster.wait_restarted("session-0", cluster.kill("session-0"))
    assert states(cluster) <= {"RUNNING", "STARTING"}
    cluster.wait_ready(30)


def knock(cluster: Cluster, gateway: int) -> Raw:
    """Give the first connection a gateway takes."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return Raw(cluster.tcp(gateway))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, cluster.log_ends()
            time.sleep(0.01)


def test_whoever_a_restarted_gateway_lets_in_is_served_at_once(cluster: Cluster) -> None:
    cluster.wait_restarted("gateway-0", cluster.kill("gateway-0"))
    for number in range(8):
        with knock(cluster, 0) as client:
            assert client.hello(cluster.token(f"restart{number}"))["inbox"] is not None
            assert client.ok("join", {"room": f"plaza/restart.{number}"})["count"] == 1
    cluster.wait_ready(30)


def test_redis_away_leaves_nothing_fatal_and_all_is_ready_on_its_return(cluster: Cluster) -> None:
    broken = cluster.run_dir / "redis.conf"
    good = broken.read_text()
    broken.write_text("this is no configuration\n")
    cluster.kill("redis-0")
    pids = {name: cluster.pid(name) for name in cluster.places.processes}
    deadline = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < deadline:
        assert "FATAL" not in states(cluster)
        time.sleep(0.05)
    assert {name: cluster.pid(name) for name in cluster.places.processes} == pids
    assert 1 <= said(cluster, "redis-0", "FATAL CONFIG FILE ERROR") <= AWAY_SECONDS + 2
    broken.write_text(good)
    cluster.wait_ready(30)
