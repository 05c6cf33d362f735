"""`./roost up` and `./roost down`: a cluster from its first to its last moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from common.keys import load_secrets
from common.places import Places
from common.settings import Settings
from tools import cluster
from tools.progress import Progress
from tools.tokens import PRODUCT, make_token

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TURN = 0.1
"""Seconds between two looks at the signals and at supervisord."""
PATIENCE = 60.0
"""Seconds after which `up` says what is missing; with --detach it also ends then."""
GUEST = "carol"
PAGE_TOKEN_SECONDS = 12 * 3600
"""How long the printed address of the demo page lets in whoever has it."""


class Ending:
    """Remembers that the cluster shall end; the handlers only set flags."""

    def __init__(self) -> None:
        self.wanted = False
        self.hung_up = False
        for number in ENDING:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.wanted = True
        self.hung_up = self.hung_up or number == signal.SIGHUP


def say(text: str = "") -> None:
    """Print a line; a terminal that is gone must not keep the cluster from ending in order."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - stays for the rest of the process


def up(settings: Settings, detach: bool) -> int:
    """Start a cluster and stay until it shall end; with `detach` return once it is ready.

    Returns:
        The exit code: 0 ended as told (or ready, detached), 1 supervisord died or not ready in time.

    Raises:
        ConfigError: nothing was started.
    """
    ending = Ending()
    places = Places(settings)
    beginning = f"starting {len(places.processes) + 1} processes in {places.run_dir} …"
    supervisord = cluster.start(settings, places, os.environ, lambda: say(beginning))
    progress = Progress(settings, places, say)
    ready = _wait_ready(progress, ending, supervisord, detach)
    if ready:
        say(greeting(settings, places, progress.seconds, detach, _token(places, GUEST)))
    if detach and not ending.wanted and supervisord.poll() is None:
        return 0 if ready else 1
    while not ending.wanted and supervisord.poll() is None:
        time.sleep(TURN)
    return _end(places, ending, supervisord)


def _wait_ready(
    progress: Progress, ending: Ending, supervisord: subprocess.Popen[bytes], detach: bool
) -> bool:
    """Wait until all is ready, telling how far it is; False if it shall end (or patience did) before."""
    told = False
    while not ending.wanted and supervisord.poll() is None:
        if progress.step():
            return True
        if progress.seconds > PATIENCE and not told:
            say(f"not ready after {PATIENCE:.0f} s: {progress.missing()}; see `./roost logs`")
            told = True
            if detach:
                return False
        time.sleep(TURN)
    return False


def _end(places: Places, ending: Ending, supervisord: subprocess.Popen[bytes]) -> int:
    code = supervisord.poll()
    if code == 0:
        say("the cluster was ended")
        return 0
    if code is not None:
        say(f"supervisord died ({code}); ending what it left, see {places.run_dir}/log/supervisord.log")
    else:
        say("\nending all in order, up to 20 s …")
    began = time.monotonic()
    cluster.stop(places.run_dir, supervisord.poll)
    say(f"ended ({time.monotonic() - began:.1f} s)")
    return 0 if code is None else 1


def down(settings: Settings, report: Callable[[str], None] = say) -> int:
    """End the cluster of the configured run folder, whoever started it."""
    run_dir = Places(settings).run_dir
    began = time.monotonic()
    if cluster.stop(run_dir):
        report(f"ended ({time.monotonic() - began:.1f} s)")
    else:
        report(f"nothing runs in {run_dir}")
    return 0


def greeting(settings: Settings, places: Places, seconds: float, detach: bool, token: str) -> str:
    """Say where everything is and what to try next; `token` lets GUEST in on the page."""
    host = settings.cluster.host
    browser = f"http://{host}:{places.web_port}"
    lines = [
        f"Roost is ready ({seconds:.1f} s).",
        "",
        f"  clients    {host}:{places.port}   TCP, all gateways share it",
        f"             {browser}   WebSocket /ws, long polling /poll, events /sse",
    ]
    if settings.gateway.tls_certificate:
        lines += [
            f"             {host}:{places.tls_port} and https://{host}:{places.tls_web_port}   with TLS"
        ]
    lines += [
        f"  {name}  {host}:{places.tcp_port(i)} and :{places.own_web_port(i)}"
        for i, name in enumerate(places.gateways)
    ]
    lines += [
        f"  center     http://{settings.center.host}:{places.center_port}   /healthz /metrics /v1/status",
        f"  state      {places.run_dir}   (log/ has a file per process)",
        "",
        "Try in two more terminals:",
        "  ./roost chat plaza/lobby --as alice",
        f"  ./roost chat plaza/lobby --as bob --gateway {min(1, len(places.gateways) - 1)}",
        f"and in a browser, as {GUEST} (the address is her key for half a day):",
        f"  {browser}/#room=plaza/lobby&token={token}",
        "",
        "./roost status shows it, ./roost logs reads it; "
        + ("./roost down ends it." if detach else "Ctrl-C here ends it."),
    ]
    return "\n".join(lines)


def _token(places: Places, uid: str) -> str:
    key = load_secrets(places.run_dir).token_key
    return make_token(key, uid, PRODUCT, time.time(), PAGE_TOKEN_SECONDS, {})
