"""How gunicorn runs center (servers/center.py); addresses come from the settings."""

import ctypes
import os
import signal
import sys
from typing import Any

from common.errors import ConfigError
from common.places import Places
from common.settings import load

try:
    _settings = load()
except ConfigError as error:
    sys.exit(f"center-0: {error}")

bind = f"{_settings.center.host}:{Places(_settings).center_port}"
worker_class = "gevent"
workers = 1
worker_connections = 200
keepalive = 5
timeout = 30
graceful_timeout = 3
preload_app = False
proc_name = "roost center"
loglevel = "warning"
accesslog = None
control_socket_disable = True

PR_SET_PDEATHSIG = 1


def post_fork(server: Any, worker: Any) -> None:
    """Have the worker end with a master that is killed: it would hold the port its successor needs.

    Where there is no prctl it finds out by itself, a second or more later.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != worker.ppid:
            os.kill(os.getpid(), signal.SIGKILL)


def worker_exit(server: Any, worker: Any) -> None:
    """Close zerorpc in order; the interpreter's exit would be too late."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions["roost"].close()
