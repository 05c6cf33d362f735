"""./roost against a running cluster."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from common.places import Places
from common.settings import ROOT
from roost_client import Client
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import MakeCluster
from tests.cluster.terminal import Terminal, roost
from tools import status


class Talker(Terminal):
    """`./roost chat` with a keyboard."""

    def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def leave(self) -> int:
        """Press Ctrl-D; give the exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait(10)


def talker(cluster: Cluster, output: Path, *arguments: str) -> Talker:
    command = [str(ROOT / "roost"), "chat", *arguments]
    return Talker(command, cluster.environment, output, stdin=subprocess.PIPE)


def test_two_terminals_on_two_gateways_talk(cluster: Cluster, tmp_path: Path) -> None:
    alice = talker(cluster, tmp_path / "alice", "plaza/lobby", "--as", "alice", "--gateway", "0")
    bob = talker(cluster, tmp_path / "bob", "plaza/lobby", "--as", "bob", "--gateway", "1")
    alice.wait_for("as alice on gateway-0")
    bob.wait_for("as bob on gateway-1")
    alice.type("hello bob")
    bob.wait_for("alice: hello bob")
    bob.type("hello alice")
    for terminal in (alice, bob):
        terminal.wait_for("bob: hello alice")
    assert bob.leave() == 0
    alice.wait_for("* bob left")
    assert alice.leave() == 0


def test_tail_shows_the_last_messages_and_what_follows(cluster: Cluster, tmp_path: Path) -> None:
    with Client("{}:{}".format(*cluster.tcp()), cluster.token("carol")) as client:
        client.join("plaza/news")
        for number in range(4):
            client.publish("plaza/news", f"old {number}")
        command = [str(ROOT / "roost"), "tail", "plaza/news", "-n", "2"]
        tail = Terminal(command, cluster.environment, tmp_path / "tail")
        tail.wait_for("carol: old 3")
        client.publish("plaza/news", "new")
        tail.wait_for("carol: new")
    assert tail.said().splitlines() == ["carol: old 2", "carol: old 3", "carol: new"]
    tail.process.terminate()
    tail.wait()


def test_status_as_json_is_json_alone(cluster: Cluster) -> None:
    told = roost("status", "--json", environment=cluster.environment)
    document = json.loads(told.stdout)
    assert (told.returncode, told.stderr, document["ready"]) == (0, "", True)
    names = {f"{row['group']}-{row['index']}" for row in document["processes"]}
    assert names == {*cluster.places.processes, "center-0"}
    for row in document["processes"]:
        assert tuple(row) == status.FIELDS
        assert row["state"] == "ready"
        assert row["rss"] > 10_000_000
        assert row["uptime"] > 0


def test_without_center_the_processes_are_asked_themselves(cluster: Cluster) -> None:
    told = status.without_center(cluster.settings, Places(cluster.settings))
    rows = {f"{row['group']}-{row['index']}": row for row in told["processes"]}
    assert {row["state"] for name, row in rows.items() if name != "center-0"} == {"ready"}
    assert rows["center-0"]["pid"] == cluster.pid("center-0")


def test_logs_of_a_group_are_shown(cluster: Cluster) -> None:
    told = roost("logs", "world", "--once", environment=cluster.environment)
    assert told.returncode == 0
    assert {line.split()[0] for line in told.stdout.splitlines()} == {"world-0", "world-1"}
    assert "event=ready" in told.stdout


def test_chat_with_nobody_there_names_the_cure(cluster: Cluster) -> None:
    elsewhere = cluster.environment | {"ROOST_PORT": str(cluster.places.port + 1)}
    told = roost("chat", "plaza/lobby", "--as", "dave", environment=elsewhere)
    assert told.returncode == 2
    assert "nobody answers" in told.stderr
    assert "make run" in told.stderr


NEED_A_CLUSTER = {
    "drain": ("drain", "gateway-0"),
    "apikey": ("apikey", "--product", "demo", "--scopes", "push"),
    "push": ("push", "unicast", "alice", "hello"),
}


@pytest.mark.parametrize("case", NEED_A_CLUSTER)
def test_where_nothing_runs_the_cure_is_named_at_once(tmp_path: Path, case: str) -> None:
    told = roost(*NEED_A_CLUSTER[case], environment={"ROOST_RUN_DIR": str(tmp_path)})
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(f"roost: nothing runs in {tmp_path}; `make run` starts a cluster")


def test_drain_moves_the_clients_of_a_gateway_to_another(make_cluster: MakeCluster) -> None:
    cluster = make_cluster({"cluster.maps": {"plaza": 1}, "cluster.sessions": 1, "cluster.dbservers": 1})
    addresses = ["{}:{}".format(*cluster.tcp(index)) for index in (0, 1)]
    clients = [Client(addresses[0], cluster.token(f"user{i}"), device=f"d{i}") for i in range(5)]
    try:
        for client in clients:
            client.connect()
            client.join("plaza/lobby")
        told = roost("drain", "gateway-0", environment=cluster.environment)
        assert told.returncode == 0, told.stderr
        assert "gateway-0: 0 connections left" in told.stdout
        deadline = time.monotonic() + 20
        while {client.welcome["gateway"] for client in clients} != {"gateway-1"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for client in clients:
            client.close()
