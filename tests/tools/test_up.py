"""What `up` does around the cluster; the cluster itself: tests/cluster/test_up.py."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.places import Places
from common.settings import load
from tools import up


@pytest.fixture
def ending() -> Iterator[up.Ending]:
    before = {number: signal.getsignal(number) for number in up.ENDING}
    yield up.Ending()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", up.ENDING)
def test_a_signal_only_sets_a_flag(ending: up.Ending, number: signal.Signals) -> None:
    assert not ending.wanted
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert ending.wanted


class GoneTerminal(io.StringIO):
    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_is_gone_does_not_stop_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", GoneTerminal())
    up.say("ending")
    up.say("ended")
    sys.stdout.close()


def test_the_greeting_names_every_address_and_what_to_try(tmp_path: Path) -> None:
    settings = load({"ROOST_PORT": "9000", "ROOST_RUN_DIR": str(tmp_path)})
    text = up.greeting(settings, Places(settings), 3.21, detach=False, token="T")
    for words in (
        "ready (3.2 s)",
        "127.0.0.1:9000",
        "127.0.0.1:9100",
        "127.0.0.1:9101",
        "http://127.0.0.1:9002",
        "http://127.0.0.1:9001/#room=plaza/lobby&token=T",
        str(tmp_path),
        "./roost chat plaza/lobby --as alice",
        "--as bob --gateway 1",
        "Ctrl-C here ends it",
    ):
        assert words in text


def test_in_the_background_it_names_the_command_that_ends_it() -> None:
    settings = load({"ROOST_CLUSTER_GATEWAYS": "1"})
    text = up.greeting(settings, Places(settings), 1.0, detach=True, token="T")
    assert "./roost down ends it" in text
    assert "--as bob --gateway 0" in text


def test_down_says_when_nothing_runs(tmp_path: Path) -> None:
    said: list[str] = []
    assert up.down(load({"ROOST_RUN_DIR": str(tmp_path)}), said.append) == 0
    assert said == [f"nothing runs in {tmp_path}"]
