"""`make run`, `./roost up` and `down` as somebody at a terminal uses them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.places import Places
from common.settings import ROOT, load
from roost_client import Client
from tests.cluster.cluster import BASES
from tests.cluster.terminal import Terminal, roost
from tools import cluster, ports, processes
from tools.control import Supervisor

SMALL = {
    "ROOST_CLUSTER_GATEWAYS": "1",
    "ROOST_CLUSTER_SESSIONS": "1",
    "ROOST_CLUSTER_DBSERVERS": "1",
    "ROOST_CLUSTER_MAPS": '{"plaza": 1}',
}


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Variables of a small cluster on free ports; afterwards whatever is left of it is ended."""
    run_dir = Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
    variables = SMALL | {"ROOST_RUN_DIR": str(run_dir), "ROOST_PORT": str(random.choice(BASES))}
    yield variables
    cluster.stop(run_dir)
    shutil.rmtree(run_dir)


def assert_nothing_stays(environment: dict[str, str]) -> None:
    settings = load(environment)
    places = Places(settings)
    assert processes.of_run_dir(places.run_dir) == []
    assert list((places.run_dir / "sock").iterdir()) == []
    ports.check(ports.wanted(settings, places))
    assert not (places.run_dir / "supervisord.pid").exists()
    assert not cluster.record_path(places.run_dir).exists()


def test_ctrl_c_in_make_run_ends_everything_in_order_with_clients_connected(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"ROOST_CLUSTER_GATEWAYS": "2", "ROOST_CLUSTER_MAPS": '{"plaza": 2}'}
    terminal = Terminal(["make", "run"], environment, tmp_path / "said")
    terminal.wait_for("is ready", 90)
    assert stat.S_IMODE((Path(environment["ROOST_RUN_DIR"]) / "secrets.toml").stat().st_mode) == 0o600
    tokens = roost("token", *(f"user{i}" for i in range(6)), environment=environment).stdout.split()
    port = int(environment["ROOST_PORT"])
    clients = [Client(f"127.0.0.1:{port}", token) for token in tokens]
    for client in clients:
        client.connect()
        client.join("plaza/lobby")
    terminal.signal_group(signal.SIGINT)
    began = time.monotonic()
    terminal.wait(20)
    assert time.monotonic() - began < 20
    for client in clients:
        client.close()
    assert "ended (" in terminal.said()
    assert "not kill" not in terminal.said()
    assert_nothing_stays(environment)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_or_with_its_terminal_closed_up_ends_everything(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    terminal = Terminal([str(ROOT / "roost"), "up"], environment, tmp_path / "said")
    terminal.wait_for("is ready")
    supervisord = Supervisor(Path(environment["ROOST_RUN_DIR"])).pid()
    assert supervisord is not None
    assert os.getsid(supervisord) == supervisord, "what the terminal does must not reach it"
    terminal.signal_group(number)
    assert terminal.wait() == 0
    assert_nothing_stays(environment)


def test_ctrl_c_while_it_starts_ends_everything_too(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal([str(ROOT / "roost"), "up"], environment, tmp_path / "said")
    run_dir = Path(environment["ROOST_RUN_DIR"])
    deadline = time.monotonic() + 30
    while not processes.of_run_dir(run_dir):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    terminal.signal_group(signal.SIGINT)
    assert terminal.wait() == 0
    assert_nothing_stays(environment)


def test_in_the_background_it_is_found_refuses_a_second_one_and_is_ended_by_down(
    environment: dict[str, str],
) -> None:
    started = roost("up", "--detach", environment=environment)
    assert (started.returncode, "is ready" in started.stdout) == (0, True), started.stdout + started.stderr
    only_folder = {"ROOST_RUN_DIR": environment["ROOST_RUN_DIR"]}
    told = roost("status", "--json", environment=only_folder)
    assert json.loads(told.stdout)["ready"] is True
    assert len(json.loads(told.stdout)["processes"]) == 6

    second = roost("up", environment=environment)
    assert second.returncode == 2
    assert "runs already" in second.stderr
    assert "ROOST_RUN_DIR=" in second.stderr

    assert roost("down", environment=only_folder).returncode == 0
    assert_nothing_stays(environment)
    assert "nothing runs" in roost("down", environment=only_folder).stdout


def test_when_up_is_killed_the_cluster_goes_on_and_down_ends_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    terminal = Terminal([str(ROOT / "roost"), "up"], environment, tmp_path / "said")
    terminal.wait_for("is ready")
    terminal.process.kill()
    terminal.wait()
    assert json.loads(roost("status", "--json", environment=environment).stdout)["ready"] is True
    assert roost("down", environment=environment).returncode == 0
    assert_nothing_stays(environment)


def test_when_supervisord_is_killed_up_ends_what_it_left(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal([str(ROOT / "roost"), "up"], environment, tmp_path / "said")
    terminal.wait_for("is ready")
    pid = Supervisor(Path(environment["ROOST_RUN_DIR"])).pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert terminal.wait() == 1
    assert "supervisord died" in terminal.said()
    assert_nothing_stays(environment)


def test_a_taken_port_is_said_before_anything_starts(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(environment["ROOST_PORT"]) + 2)):
        refused = roost("up", environment=environment)
    assert refused.returncode == 2
    assert (
        f"port {int(environment['ROOST_PORT']) + 2} on 127.0.0.1 (center) is taken by pid" in refused.stderr
    )
    assert not (Path(environment["ROOST_RUN_DIR"]) / "secrets.toml").exists()
    assert not list((Path(environment["ROOST_RUN_DIR"]) / "log").iterdir())


REFUSED = {
    "a wrong value": ({"ROOST_CLUSTER_GATEWAYS": "0"}, "cluster.gateways = 0"),
    "an unknown variable": ({"ROOST_CLUSTER_GATEWAY": "1"}, "did you mean"),
    "a run folder too long for sockets": ({"ROOST_RUN_DIR": "/tmp/" + "x" * 100}, "ROOST_RUN_DIR=/tmp/roost"),
    "a folder that cannot be": ({"ROOST_RUN_DIR": "/dev/null/run"}, "writable folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_the_cure(environment: dict[str, str], case: str) -> None:
    wrong, words = REFUSED[case]
    refused = roost("up", environment=environment | wrong)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
