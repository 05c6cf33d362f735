from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.settings import ROOT

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "conf/gunicorn.py", "servers.center:application"]


class Center:
    """A real center over a cluster of which nobody runs."""

    def __init__(self, run_dir: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = os.environ | {
            "ROOST_RUN_DIR": str(run_dir),
            "ROOST_PORT": str(self.port - 2),
            "ROOST_CENTER_TIMEOUT": "0.1",
        }
        self.process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def wait_until_it_listens(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            try:
                self.get("/")
                return
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(self.process.communicate(timeout=5)[0].decode())


@pytest.fixture
def center(tmp_path: Path) -> Iterator[Center]:
    center = Center(tmp_path)
    try:
        center.wait_until_it_listens()
        yield center
    finally:
        if center.process.poll() is None:
            center.process.kill()
        center.process.communicate(timeout=5)


def test_a_center_alone_says_that_all_others_are_missing(center: Center):
    code, body = center.get("/healthz")
    answer = json.loads(body)
    assert code == 503
    assert answer["ready"] is False
    assert "gateway-0: not answering" in answer["missing"]
    assert not any(line.startswith("center") for line in answer["missing"])

    rows = json.loads(center.get("/v1/status")[1])["processes"]
    assert {row["state"] for row in rows if row["group"] != "center"} == {"down"}
    assert rows[-1]["group"] == "center"
    assert rows[-1]["rss"] > 1_000_000

    page = center.get("/metrics")[1].decode()
    assert 'roost_up{group="center",index="0"} 1.0' in page
    assert 'roost_up{group="gateway",index="0"} 0.0' in page


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_center_ends_in_order_and_in_silence(center: Center, tmp_path: Path, number: signal.Signals):
    center.get("/healthz")
    center.process.send_signal(number)
    output = center.process.communicate(timeout=6)[0].decode()
    assert center.process.returncode == 0
    assert output == ""
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
def test_a_killed_center_leaves_nobody_who_holds_its_port_not_even_a_worker_that_hangs(center: Center):
    worker = json.loads(center.get("/v1/status")[1])["processes"][-1]["pid"]
    assert worker != center.process.pid
    os.kill(worker, signal.SIGSTOP)
    center.process.kill()
    center.process.wait()
    until = time.monotonic() + 5
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", center.port))
                break
            except OSError:
                if time.monotonic() > until:
                    os.kill(worker, signal.SIGKILL)
                    raise AssertionError("the port is still held") from None
                time.sleep(0.02)


def test_a_wrong_setting_is_said_in_one_line(tmp_path: Path):
    environment = os.environ | {"ROOST_CENTER_TIMEOUT": "soon", "ROOST_RUN_DIR": str(tmp_path)}
    ended = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20)
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "ROOST_CENTER_TIMEOUT" in ended.stderr and "soon" in ended.stderr


def test_the_worker_closes_what_the_application_holds_and_bears_having_none():
    worker_exit = runpy.run_path(str(ROOT / "conf" / "gunicorn.py"))["worker_exit"]
    closed: list[str] = []
    held = SimpleNamespace(close=lambda: closed.append("once"))
    worker_exit(None, SimpleNamespace(wsgi=SimpleNamespace(extensions={"roost": held})))
    worker_exit(None, SimpleNamespace(wsgi=None))
    worker_exit(None, SimpleNamespace())
    assert closed == ["once"]
