"""Servers of others as processes: found, started on a free port, waited for, ended by pid."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from common.settings import ROOT
from loadtest.peers.peer import HOST, Running

PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"))
"""Debian keeps servers where only root looks."""
PATIENCE = 15.0
TURN = 0.02


def find(program: str) -> str | None:
    """Give the path of a program."""
    return shutil.which(program, path=PATH)


def says(*command: str) -> str:
    """Give what a program says, on either stream; "" when it is not here."""
    path = find(command[0])
    if path is None:
        return ""
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False, timeout=PATIENCE)
    return (done.stdout + done.stderr).strip()


def free_port() -> int:
    """Give a port nobody has now."""
    with socket.create_server((HOST, 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def start(command: list[str], folder: Path, port: int) -> Running:
    """Start a server of one process; what it says goes to server.log in its folder.

    Raises:
        RuntimeError: it ended, or does not listen in time; with the end of what it said.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    deadline = time.monotonic() + PATIENCE
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            stop()
            raise RuntimeError(f"{command[0]} does not listen: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(TURN)
    return Running(port, {"server-0": process.pid}, stop)


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((HOST, port)) == 0
