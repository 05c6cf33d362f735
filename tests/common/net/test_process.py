from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from common.errors import Unavailable
from common.handlers import Handlers
from common.keys import make_secrets
from common.net import log as logs
from common.net import rpc
from common.net.metrics import Counters
from common.net.process import Service, main
from common.net.rpc import Callers, Context, RpcServer
from common.places import Places
from common.settings import ROOT, Settings, load
from tests.common.net.sites import Sites
from tests.waiting import pause, until

NAME = "world-0"
START_SECONDS = 30
"""A new interpreter on a machine that has much else to do."""
FROZEN_AFTER = 0.8
FAST = {
    "ROOST_LEASE_FROZEN_AFTER": str(FROZEN_AFTER),
    "ROOST_LEASE_RENEW_EVERY": "0.1",
    "ROOST_LINK_IDLE_EVERY": "0.05",
    "ROOST_LINK_SILENT_AFTER": "3",
    "ROOST_CLUSTER_GATEWAYS": "1",
    "ROOST_RPC_TIMEOUT": "0.5",
    "ROOST_RPC_BREAKER_REST": "0.05",
}


class Tiny:
    """A real process of tests/common/net/tiny_server.py, and the way to call it."""

    def __init__(self, run_dir: Path, settings: Settings, index: str, **variables: str) -> None:
        self.log = run_dir / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.common.net.tiny_server", index],
                cwd=ROOT,
                env={**os.environ, **FAST, "ROOST_RUN_DIR": str(run_dir), **variables},
                stdout=log,
                stderr=log,
            )
        self._context = Context()
        self._callers = Callers(self._context, Places(settings), "gateway-0", settings.rpc)

    def call(self, method: str, *args: Any) -> Any:
        return self._callers.call(NAME, method, *args, timeout=0.5)

    def answers(self) -> bool:
        """Tell whether it is started; fails when it has ended."""
        assert self.process.poll() is None, self.log.read_text()
        return "event=started" in self.log.read_text()

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Wait for its end; give the exit code."""
        until(lambda: self.process.poll() is not None, seconds)
        code: int = self.process.returncode
        return code

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def events(self) -> list[list[Any]]:
        told: list[list[Any]] = self.call("events")
        return told

    def close(self) -> None:
        self._callers.close()
        self._context.destroy(linger=0)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def settings(run_dir: Path) -> Settings:
    make_secrets(run_dir)
    return load({**FAST, "ROOST_RUN_DIR": str(run_dir)})


@pytest.fixture
def launch(run_dir: Path, settings: Settings) -> Iterator[Callable[..., Tiny]]:
    """Start processes (index, further variables) that end with the test."""
    made: list[Tiny] = []

    def start(index: str = "0", wait: bool = True, **variables: str) -> Tiny:
        made.append(Tiny(run_dir, settings, index, **variables))
        if wait:
            until(made[-1].answers, START_SECONDS)
        return made[-1]

    yield start
    for tiny in made:
        tiny.close()


def sockets(run_dir: Path) -> list[str]:
    return sorted(path.name for path in (run_dir / "sock").iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_starts_tells_of_itself_and_ends_in_order(
    run_dir: Path, launch: Callable[..., Tiny], number: int
):
    tiny = launch()
    row = tiny.call("status")
    assert {key: row[key] for key in ("group", "index", "pid", "state", "term", "connections")} == {
        "group": "world",
        "index": 0,
        "pid": tiny.process.pid,
        "state": "starting",
        "term": 1,
        "connections": 0,
    }
    assert row["missing"] == ["no link with gateway-0"]
    assert row["rss"] > 1_000_000 and row["uptime"] >= 0 and row["queues"] == {"links": 0}
    names = {family[0] for family in tiny.call("metrics")}
    assert {"roost_link_batches_out", "roost_rpc_served", "roost_loop_lag_ms"} <= names
    tiny.signal(number)
    assert tiny.wait() == 0
    assert sockets(run_dir) == []
    lines = tiny.log.read_text().splitlines()
    assert all(re.match(r"time=\S+Z level=\w+ process=world-0 event=", line) for line in lines), lines
    assert [
        word for line in lines for word in ("started", "stopping", "stopped") if f"event={word}" in line
    ] == [
        "started",
        "stopping",
        "stopped",
    ]


def test_with_its_links_up_a_process_is_ready(launch: Callable[..., Tiny], run_dir: Path, settings: Settings):
    tiny = launch()
    with_gateway(run_dir, settings, lambda gateway: until(lambda: tiny.call("status")["state"] == "ready"))
    assert [1, "up", "gateway-0"] in tiny.events()


def with_gateway(run_dir: Path, settings: Settings, use: Callable[[Any], object]) -> None:
    """Run `use(site)` with a gateway-0 in this process."""
    sites = Sites(run_dir)
    try:
        gateway = sites.site("gateway-0", NAME, settings=settings.link)
        use(gateway)
    finally:
        sites.close()


def test_socket_files_of_a_dead_process_do_no_harm(run_dir: Path, launch: Callable[..., Tiny]):
    first = launch()
    first.signal(signal.SIGKILL)
    first.wait()
    assert sockets(run_dir) == ["world-0.link", "world-0.rpc"]
    second = launch()
    assert second.call("status")["pid"] == second.process.pid


def test_each_life_has_a_later_incarnation_also_when_the_clock_went_back(
    run_dir: Path, launch: Callable[..., Tiny]
):
    first = launch()
    before = first.call("status")["incarnation"]
    first.signal(signal.SIGKILL)
    first.wait()
    second = launch()
    after = second.call("status")["incarnation"]
    assert after > before
    second.signal(signal.SIGKILL)
    second.wait()
    in_a_year = f"{int(after[:16], 16) + 365 * 86_400 * 1_000_000:016x}-00000000"
    (run_dir / "sock" / "world-0.lock").write_text(in_a_year)
    assert launch().call("status")["incarnation"] > in_a_year


def test_a_second_process_of_the_name_is_refused_with_the_cure_and_harms_nothing(
    run_dir: Path, launch: Callable[..., Tiny]
):
    first = launch()
    second = launch(wait=False)
    assert second.wait() == 2
    told = second.log.read_text()
    assert told.startswith("world-0: world-0 runs already in this run folder")
    assert "end it first, or set another ROOST_RUN_DIR" in told
    assert first.call("status")["pid"] == first.process.pid
    assert sockets(run_dir) == ["world-0.link", "world-0.rpc"]


def test_a_dead_core_task_takes_the_process_along_in_order(run_dir: Path, launch: Callable[..., Tiny]):
    tiny = launch()
    tiny.call("die")
    assert tiny.wait() == 1
    told = tiny.log.read_text()
    assert 'event="core task died" task=heart' in told and "ZeroDivisionError" in told
    assert "event=stopped exit_code=1" in told
    assert sockets(run_dir) == []


WRONG = {
    "a value of the wrong type": ("0", {"ROOST_LINK_IDLE_EVERY": "often"}, ["IDLE_EVERY", "'often'"]),
    "a value out of bounds": ("0", {"ROOST_RPC_IN_FLIGHT": "0"}, ["rpc.in_flight = 0", "at least 1"]),
    "an unknown variable": ("0", {"ROOST_RPC_TIME_OUT": "1"}, ["ROOST_RPC_TIME_OUT", "'ROOST_RPC_TIMEOUT'"]),
    "a process that is not configured": ("7", {}, ["world-7", "world-0, world-1"]),
    "an index that is none": ("first", {}, ["index = 'first'"]),
    "a negative index": ("-1", {}, ["index = '-1'"]),
    "a run folder that is too long": (
        "0",
        {"ROOST_RUN_DIR": "/tmp/" + "x" * 90},
        ["95 bytes", "ROOST_RUN_DIR=/tmp"],
    ),
    "a run folder without secrets": (
        "0",
        {"ROOST_RUN_DIR": "/tmp/roost-none"},
        ["secrets.toml", "./roost up"],
    ),
}


@pytest.mark.parametrize(("index", "variables", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_ends_a_process_with_its_name_and_value(
    run_dir: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    index: str,
    variables: dict[str, str],
    words: list[str],
):
    for name, value in {**FAST, "ROOST_RUN_DIR": str(run_dir), **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["tiny", index])
    monkeypatch.setattr(logs, "setup", lambda level, name: None)
    monkeypatch.setattr(logs, "report_uncaught", lambda hub: None)
    with pytest.raises(SystemExit) as ended:
        main("world", Service)
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert told.startswith(f"world-{index}: ") and told.count("\n") == 1
    assert all(word in told for word in words), told
    assert not (run_dir / "sock").exists()


def test_what_a_service_refuses_ends_the_process_before_any_socket_opens(
    run_dir: Path, launch: Callable[..., Tiny]
):
    tiny = launch(wait=False, TINY_FAULT="settings")
    assert tiny.wait() == 2
    assert tiny.log.read_text() == "world-0: tiny.setting = 7: must be 8\n"
    assert sockets(run_dir) == []


def test_an_error_at_the_start_is_one_line_and_exit_code_1(run_dir: Path, launch: Callable[..., Tiny]):
    tiny = launch(wait=False, TINY_FAULT="start")
    assert tiny.wait() == 1
    (line,) = tiny.log.read_text().splitlines()
    assert 'event="uncaught error"' in line and "ZeroDivisionError" in line
    assert sockets(run_dir) == []


def test_an_error_in_a_greenlet_nobody_owns_is_one_line(launch: Callable[..., Tiny]):
    tiny = launch(TINY_FAULT="greenlet")
    until(lambda: "IndexError" in tiny.log.read_text())
    (line,) = (line for line in tiny.log.read_text().splitlines() if "IndexError" in line)
    assert line.startswith("time=") and 'event="uncaught error"' in line


@pytest.mark.parametrize(("fault", "state"), [("slow start", "starting"), ("slow stop", "stopping")])
def test_before_and_after_it_serves_a_process_answers_for_itself_only(
    launch: Callable[..., Tiny], fault: str, state: str
):
    tiny = launch(wait=False, TINY_FAULT=fault)
    until(lambda: outcome(tiny, "status") is not None, START_SECONDS)
    if state == "stopping":
        until(tiny.answers)
        tiny.signal(signal.SIGTERM)
        until(lambda: tiny.call("status")["state"] == "stopping")
    with pytest.raises(Unavailable, match=f"world-0 is {state}"):
        tiny.events()
    assert tiny.call("status")["state"] == state


def outcome(tiny: Tiny, method: str, *args: Any) -> Any:
    """Give the answer, or None while there is none."""
    try:
        return tiny.call(method, *args)
    except Exception:  # noqa: BLE001 - whatever keeps it from answering
        return None


def stop_for(tiny: Tiny, seconds: float) -> None:
    tiny.signal(signal.SIGSTOP)
    pause(seconds)
    tiny.signal(signal.SIGCONT)


def test_a_frozen_process_fences_itself_before_it_handles_anything(
    run_dir: Path, launch: Callable[..., Tiny], settings: Settings
):
    tiny = launch()

    def use(gateway: Any) -> None:
        until(lambda: gateway.send(NAME, "before"))
        until(lambda: [1, "item", "before"] in tiny.events())
        tiny.signal(signal.SIGSTOP)
        for _ in range(100):
            gateway.send(NAME, "while it was stopped")
            pause((FROZEN_AFTER + 0.4) / 100)
        tiny.signal(signal.SIGCONT)
        until(lambda: gateway.send(NAME, "after") and [2, "item", "after"] in (outcome(tiny, "events") or []))

    with_gateway(run_dir, settings, use)
    told = tiny.events()
    assert told[:5] == [
        [1, "start"],
        [1, "up", "gateway-0"],
        [1, "item", "before"],
        [2, "fenced"],
        [2, "down", "gateway-0"],
    ]
    assert {tuple(event) for event in told if event[1] == "item"} == {
        (1, "item", "before"),
        (2, "item", "after"),
    }
    assert tiny.call("status")["term"] == 2
    assert tiny.log.read_text().count('event="was frozen"') == 1


def test_a_loop_that_stood_still_is_a_frozen_process_too(launch: Callable[..., Tiny]):
    tiny = launch()
    outcome(tiny, "stand still", FROZEN_AFTER + 0.3)
    until(lambda: [2, "fenced"] in (outcome(tiny, "events") or []))


def test_a_short_stop_changes_nothing(launch: Callable[..., Tiny]):
    tiny = launch()
    stop_for(tiny, FROZEN_AFTER / 4)
    pause(FROZEN_AFTER)
    assert tiny.events() == [[1, "start"]]
    assert tiny.call("status")["term"] == 1


def test_a_service_that_cannot_be_fenced_does_not_serve_on(launch: Callable[..., Tiny]):
    tiny = launch(TINY_FAULT="fenced")
    stop_for(tiny, FROZEN_AFTER + 0.3)
    assert tiny.wait() == 1
    assert 'event="fencing failed"' in tiny.log.read_text()


FUNCTION = Handlers("a directory for tests")


@FUNCTION.on("renew")
def renew(told: dict[str, Any], *lease: Any) -> dict[str, Any]:
    told["lease"] = lease
    return {"accepted": True, "directory": told["directory"]}


@pytest.fixture
def function(run_dir: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """A function-0 that answers with `directory` and remembers the last `lease`."""
    told: dict[str, Any] = {"directory": {}}
    context, counters = Context(), Counters("rpc")
    counters.declare(rpc.COUNTERS)
    (run_dir / "sock").mkdir(exist_ok=True)
    address = Places(settings).rpc_address("function-0")
    server = RpcServer(context, address, ((FUNCTION, told),), lambda method: None, counters)
    running = gevent.spawn(server.run)
    yield told
    server.close()
    running.join(timeout=1)
    context.destroy(linger=0)


def test_a_lease_is_renewed_all_the_time(launch: Callable[..., Tiny], function: dict[str, Any]):
    tiny = launch()
    until(lambda: "lease" in function)
    row = tiny.call("status")
    name, incarnation, term, address, state = function.pop("lease")
    assert (name, incarnation, term, state) == (NAME, row["incarnation"], 1, "starting")
    assert address.endswith("/sock/world-0.rpc")
    until(lambda: "lease" in function)


def test_a_process_that_finds_a_newer_one_under_its_name_ends(
    launch: Callable[..., Tiny], function: dict[str, Any]
):
    tiny = launch()
    own = tiny.call("status")["incarnation"]
    function["directory"] = {NAME: [own, 1, "ready", 0]}
    pause(0.3)
    assert tiny.process.poll() is None
    function["directory"] = {NAME: [own[:15] + "g" + own[16:], 1, "ready", 0]}
    assert tiny.wait() == 1
    assert 'event="a newer process has this name"' in tiny.log.read_text()
