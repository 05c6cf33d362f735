"""How gunicorn runs center (servers/center.py); addresses come from the settings."""

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
graceful_timeout = 1
preload_app = False
proc_name = "roost center"
loglevel = "warning"
accesslog = None
control_socket_disable = True


def worker_exit(server: Any, worker: Any) -> None:
    """Close zerorpc in order; the interpreter's exit would be too late."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions["roost"].close()
