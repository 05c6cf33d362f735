"""center: the RESTful door for operators and application servers, under gunicorn (conf/gunicorn.py).

    application server ── HTTP ──▶ center ──▶ dbserver, then session, gateway or world

It owns nothing: what it tells, it asks of the other processes, so it may be
restarted at any time.
"""

from __future__ import annotations

import os
import secrets as random
import time

from center.api.door import Door, Secrets
from center.app import create_app
from center.status import Board, Row
from common.keys import make_secrets
from common.net import log as logs
from common.net.census import census
from common.net.metrics import Metrics
from common.net.process import rss_bytes
from common.net.pulse import Pulse
from common.net.rpc import Callers, Context
from common.net.tasks import Tasks
from common.places import Places
from common.settings import Settings, TokenKey, load
from common.wire.tokens import check_keys

AUDIT_EVERY = 0.25
STOP_TASKS = 0.5
"""Seconds greenlets get to end."""


class Center:
    """The kernel around the web application: what it calls with, and what it says of itself."""

    def __init__(self, settings: Settings) -> None:
        places = Places(settings)
        logs.setup(settings.log.level, places.center)
        log = logs.get()
        secrets = make_secrets(places.run_dir)
        token_keys = (TokenKey(key=secrets.token_key), *settings.auth.keys)
        check_keys(token_keys)
        self._context = Context()
        self._callers = Callers(self._context, places, places.center, settings.rpc)
        self._pulse = Pulse()
        self._started_at = time.monotonic()
        self._incarnation = f"{time.time_ns() // 1000:016x}-{random.token_hex(4)}"
        metrics = Metrics(places.center)
        self._pulse.expose(metrics)
        metrics.gauge("greenlets", "greenlets alive", lambda: census()["greenlets"])
        board = Board(self._callers, places, settings.center.timeout, self.row, metrics.families)
        known = Secrets(token_keys, secrets.resume_key.encode())
        self._door = Door(self._callers, places, settings, known, log)
        self.application = create_app(board, log, self._door)
        self.application.extensions["roost"] = self
        self._tasks = Tasks(log)
        self._tasks.every("audit", AUDIT_EVERY, self._door.audit.flush)
        self._pulse.start()

    def row(self) -> Row:
        """Give center's own row of the status."""
        return {
            "group": "center",
            "index": 0,
            "pid": os.getpid(),
            "state": "ready",
            "incarnation": self._incarnation,
            "term": 1,
            "uptime": round(time.monotonic() - self._started_at, 1),
            "connections": 0,
            "lag_p99_ms": self._pulse.lag.milliseconds()["p99"],
            "rss": rss_bytes(),
            "queues": {"audit": len(self._door.audit)},
            "missing": [],
        }

    def close(self) -> None:
        """End measuring, write what the audit log gathered, then end every connection to other processes."""
        self._pulse.stop()
        self._tasks.stop(STOP_TASKS)
        self._door.audit.flush()
        self._callers.close()
        self._context.destroy(linger=0)


application = Center(load()).application
