"""Speaks with the supervisord of one run folder through its unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

TIMEOUT = 5.0
"""Seconds one call may take; supervisord answers in milliseconds."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.sock.close()
            raise


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path)
        self._connection = host, connection  # what close() closes
        return connection


class Supervisor:
    """The supervisord of a run folder; every method answers None or [] when there is none."""

    def __init__(self, run_dir: Path) -> None:
        self.socket_path = run_dir / "sock" / "super.sock"

    def _call(self, method: str, *arguments: Any) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(self.socket_path))
        with proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error):
                return None

    def pid(self) -> int | None:
        """Give supervisord's pid."""
        pid = self._call("getPID")
        return pid if isinstance(pid, int) else None

    def processes(self) -> list[dict[str, Any]]:
        """Give a dict per process: group, name, statename, pid, start (unix s), now …"""
        return self._call("getAllProcessInfo") or []

    def shutdown(self) -> bool:
        """Ask for the ordered stop; False if it could not be asked."""
        return bool(self._call("shutdown"))

    def nudge(self) -> None:
        """Make it look at its children now: while nothing happens it does so once a second."""
        self._call("getState")
