from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tools import processes

STUBBORN = "import signal, sys; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"


def started(
    code: str = "print(flush=True); import signal; signal.pause()", **environment: str
) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    return child


def test_a_process_of_a_run_folder_is_found_by_what_supervisord_gave_it(tmp_path: Path) -> None:
    own = started(SUPERVISOR_PROCESS_NAME="world-0", ROOST_RUN_DIR=str(tmp_path))
    other = started(SUPERVISOR_PROCESS_NAME="world-0", ROOST_RUN_DIR=f"{tmp_path}2")
    shell = started(ROOST_RUN_DIR=str(tmp_path))
    try:
        assert processes.of_run_dir(tmp_path) == [own.pid]
    finally:
        assert processes.kill([own.pid, other.pid, shell.pid]) == []
        for child in (own, other, shell):
            child.wait()


def test_one_that_has_ended_but_is_not_reaped_is_not_alive() -> None:
    child = started()
    assert processes.alive(child.pid)
    assert processes.kill([child.pid]) == []
    assert not processes.alive(child.pid)
    assert child.wait() == -signal.SIGKILL


def test_a_stubborn_process_is_left_by_a_polite_signal_and_named() -> None:
    child = started(STUBBORN)
    try:
        assert processes.kill([child.pid], signal.SIGTERM, 0.05) == [child.pid]
    finally:
        processes.kill([child.pid])
        child.wait()


def test_a_process_that_is_gone_reads_as_empty() -> None:
    child = started()
    child.kill()
    child.wait()
    assert not processes.alive(child.pid)
    assert processes.command_of(child.pid) == ""
    assert processes.environment_of(child.pid) == {}
    assert processes.open_files(child.pid) == set()
    assert processes.kill([child.pid]) == []


def test_a_command_line_reads_as_it_was_typed() -> None:
    assert str(os.getpid()) in map(str, processes.all_pids())
    assert "python" in processes.command_of(os.getpid()) or "pytest" in processes.command_of(os.getpid())
