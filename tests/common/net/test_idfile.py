"""The state file on disk, and the whole id generator killed at random instants."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from common.errors import ConfigError
from common.net.idfile import RegionFile
from common.rules import ids
from common.rules.ids import Mark, NeedsBound, Region, State, decode, start

ROOT = Path(__file__).resolve().parents[3]
STATE = State(3, "abc", 5_000, 90_000)


class Killed(Exception):
    """Stands for the instant of the kill."""


class DyingOs:
    """The os module, killed just before the call numbered `at`; a killed write leaves its first bytes.

    Syncs reach no disk here: what power loss does to them is played by the machine below.
    """

    def __init__(self, at: int) -> None:
        self.left = at
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace"):
            return call

        def step(*arguments: Any) -> Any:
            if self.left == 0:
                if name == "write":
                    os.write(arguments[0], arguments[1][:20])
                raise Killed(name)
            self.left -= 1
            self.calls.append(name)
            return None if name == "fsync" else call(*arguments)

        return step


WRITE_STEPS = ["open", "write", "fsync", "replace", "open", "fsync"]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    file = RegionFile(tmp_path / "3")
    assert file.read() is None
    file.write(STATE)
    assert decode(file.read() or b"") == STATE
    assert os.stat(tmp_path / "3").st_mode & 0o777 == 0o600


def test_a_write_syncs_the_file_before_the_rename_and_the_folder_after(tmp_path: Path) -> None:
    with mock.patch("common.net.idfile.os", DyingOs(-1)) as calls:
        RegionFile(tmp_path / "3").write(STATE)
    assert calls.calls == WRITE_STEPS


@pytest.mark.parametrize("at", range(len(WRITE_STEPS)))
def test_a_kill_at_any_step_leaves_the_old_state_or_the_new(tmp_path: Path, at: int) -> None:
    file = RegionFile(tmp_path / "3")
    file.write(STATE)
    newer = STATE._replace(bound=6_000)
    with mock.patch("common.net.idfile.os", DyingOs(at)), pytest.raises(Killed):
        file.write(newer)
    assert decode(file.read() or b"") == (newer if at > WRITE_STEPS.index("replace") else STATE)
    RegionFile(tmp_path / "3").write(newer)
    assert decode(file.read() or b"") == newer


def test_a_disk_that_takes_half_of_the_bytes_is_an_error_and_the_old_state_stays(tmp_path: Path) -> None:
    file = RegionFile(tmp_path / "3")
    file.write(STATE)
    with mock.patch("common.net.idfile.os.write", return_value=7), pytest.raises(OSError, match="only 7 of"):
        file.write(STATE._replace(bound=6_000))
    assert decode(file.read() or b"") == STATE


def test_a_bound_that_goes_back_is_refused(tmp_path: Path) -> None:
    file = RegionFile(tmp_path / "3")
    file.write(STATE)
    with pytest.raises(ValueError, match="below 5000"):
        file.write(STATE._replace(bound=4_999))
    assert decode(file.read() or b"") == STATE


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    with pytest.raises(OSError, match="directory"):
        RegionFile(tmp_path / "3").read()


def test_a_second_holder_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    first, second = RegionFile(tmp_path / "3"), RegionFile(tmp_path / "3")
    first.lock()
    with pytest.raises(ConfigError, match=rf"pid {os.getpid()}; stop it"):
        second.lock()
    first.close()
    second.lock()
    second.close()
    second.close()


@dataclass
class Request:
    """A move of the bound in Redis that may still be carried out, whether or not its sender lives."""

    owner: str
    expected: Mark | None
    bound: int
    allowed: bool | None = None


@dataclass
class Host:
    """A host's disk, and the process on it, which stops between any two of its steps."""

    name: str
    file: RegionFile
    process: Generator[None, None, None] | None = None
    region: Region | None = None


class KilledMachine(RuleBasedStateMachine):
    """Two hosts share one shard and one Redis; either may be killed, frozen or cut off at any step.

    Files are real, Redis is one variable. Where a host cannot know what was given, its
    operator finds out and says --init-at.
    """

    hosts = st.sampled_from(["north", "south"])

    def __init__(self) -> None:
        super().__init__()
        self.redis_ahead = mock.patch.object(ids, "REDIS_AHEAD", 64)
        self.redis_ahead.start()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.by_name = {name: Host(name, RegionFile(path / name)) for name in ("north", "south")}
        self.mark: Mark | None = None
        self.redis = "answers"
        self.on_the_way: list[Request] = []
        self.given: set[int] = set()
        self.lives = 0
        self.greed = 12

    def teardown(self) -> None:
        for host in self.by_name.values():
            self.end(host)
        self.redis_ahead.stop()
        self.folder.cleanup()

    @staticmethod
    def end(host: Host) -> None:
        if host.process is not None:
            host.process.close()
        host.process = host.region = None

    def life(self, host: Host, told: bool) -> Generator[None, None, None]:
        """What a process does, from start to wherever it is stopped for good."""
        self.lives += 1
        ident = f"i{self.lives}"
        host.file = RegionFile(host.file.path)
        data = host.file.read()
        yield
        mark, redis_up = (None, False) if self.redis == "away" else (self.mark, True)
        yield
        known = max(self.given, default=-1) + 1
        try:
            region = start(
                0, host.name, ident, data, mark, redis_up=redis_up, ahead=20, init_at=known if told else None
            )
        except ConfigError:
            region = start(0, host.name, ident, data, mark, redis_up=redis_up, ahead=20, init_at=known)
        host.region = region
        while True:
            yield
            bound = region.wanted_redis_bound(5)
            if bound is not None and self.redis != "away":
                request = Request(region.owner, region.expected, bound)
                self.on_the_way.append(request)
                if self.redis != "slow":
                    self.carry_out(request)
                yield
                if request.allowed is False:
                    return
                if request.allowed and self.redis != "mute":
                    region.redis_bound_moved(bound)
            bound = region.wanted_disk_bound(5)
            if bound is not None:
                with mock.patch("common.net.idfile.os", DyingOs(-1)):
                    host.file.write(region.state(bound))
                yield
                region.disk_bound_moved(bound)
            for _ in range(self.greed):
                taken = region.take(5)
                if isinstance(taken, NeedsBound):
                    break
                assert not self.given & set(taken), f"{host.name} repeats {taken}"
                self.given |= set(taken)

    def carry_out(self, request: Request) -> None:
        """Do as the script in Redis does."""
        self.on_the_way.remove(request)
        known = self.mark
        request.allowed = known == request.expected or (known is not None and known.owner == request.owner)
        if request.allowed:
            self.mark = Mark(request.owner, max(request.bound, known.bound if known else 0))

    @rule(
        name=hosts,
        steps=st.sampled_from([1, 2, 3, 4, 5, 6, 12, 30]),
        kill=st.booleans(),
        told=st.integers(0, 9),
    )
    def run(self, name: str, steps: int, kill: bool, told: int) -> None:
        """Let a host go on for some steps, from a start if it is down or is killed first."""
        host = self.by_name[name]
        if kill:
            self.end(host)
        for _ in range(steps):
            if host.process is None:
                host.process = self.life(host, told=told == 9)
            try:
                next(host.process)
            except StopIteration:
                self.end(host)

    @rule(name=hosts, at=st.integers(0, 5), power_lost=st.booleans())
    def kill_in_a_write(self, name: str, at: int, power_lost: bool) -> None:
        """Kill at a step of writing the file; lost power takes a rename along that was not yet synced."""
        host = self.by_name[name]
        bound = host.region.wanted_disk_bound(20) if host.region else None
        if host.region is None or bound is None:
            return
        before = host.file.read()
        with mock.patch("common.net.idfile.os", DyingOs(at)), pytest.raises(Killed):
            host.file.write(host.region.state(bound))
        self.end(host)
        if power_lost:
            host.file.path.unlink(missing_ok=True)
            if before is not None:
                host.file.path.write_bytes(before)

    @rule(how=st.sampled_from(["answers", "answers", "away", "slow", "mute"]))
    def redis_changes(self, how: str) -> None:
        """It answers, is away, carries requests out later, or its replies get lost."""
        self.redis = how

    @rule(greed=st.sampled_from([1, 3, 12]))
    def callers_change(self, greed: int) -> None:
        """They take so many ranges between two looks at the bounds."""
        self.greed = greed

    @rule(which=st.integers(0, 9))
    def a_late_request_arrives(self, which: int) -> None:
        if self.on_the_way:
            self.carry_out(self.on_the_way[which % len(self.on_the_way)])

    @rule(name=hosts, lost=st.booleans())
    def file_is_damaged_or_lost(self, name: str, lost: bool) -> None:
        host = self.by_name[name]
        if host.process is not None or not host.file.path.exists():
            return
        if lost:
            host.file.path.unlink()
        else:
            host.file.path.write_bytes(host.file.path.read_bytes()[:-9])


KilledMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestKilledMachine = KilledMachine.TestCase


GENERATOR = """
import os, sys
from pathlib import Path
from common.net.idfile import RegionFile
from common.rules.ids import Mark, NeedsBound, decode, start

folder = Path(sys.argv[1])
file, redis = RegionFile(folder / "3"), RegionFile(folder / "redis")
file.lock()
data, known = file.read(), redis.read()
mark = None
if known is not None:
    told = decode(known)
    mark = Mark(f"host/{told.ident}", told.bound)
region = start(3, "host", sys.argv[2], data, mark, redis_up=True, ahead=40)
while True:
    bound = region.wanted_redis_bound(7)
    if bound is not None:
        redis.write(region.state(bound))
        region.redis_bound_moved(bound)
    bound = region.wanted_disk_bound(7)
    if bound is not None:
        file.write(region.state(bound))
        region.disk_bound_moved(bound)
    taken = region.take(7)
    if not isinstance(taken, NeedsBound):
        os.write(1, b"%d\\n" % taken[0])
"""


def test_a_real_process_killed_at_random_instants_never_repeats_an_id(
    tmp_path: Path,
) -> None:
    rounds, given = random.Random(20), list[int]()
    for life in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", GENERATOR, str(tmp_path), f"i{life}"], cwd=ROOT, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        with child:
            told = child.stdout.readline()
            for _ in range(rounds.randrange(200)):
                told += child.stdout.readline()
            child.send_signal(signal.SIGKILL)
            told += child.stdout.read()
        given += [int(line) + offset for line in told.splitlines(keepends=True) for offset in range(7)]
    assert len(given) > 6 * 7
    assert len(given) == len(set(given))
