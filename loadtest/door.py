"""Center's push API as an application server uses it, by greenlets: connections that stay open."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

IDLE_SECONDS = 3.0
"""A connection unused for longer is not used again: center may be closing it (keepalive of 5 s)."""


class Door:
    """Center's push API over connections that stay open."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self.errors: Counter[str] = Counter()

    def push(self, kind: str, body: dict[str, Any]) -> bool:
        """Send; False when that failed, which is counted."""
        connection = self._connection()
        try:
            connection.request("POST", f"/v1/push/{kind}", json.dumps(body), self._headers)
            answer = connection.getresponse()
            told = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.errors[f"{type(error).__name__}: {error}"] += 1
            return False
        self._idle.append((connection, time.monotonic()))
        if answer.status == 200:
            return True
        self.errors[f"{answer.status} {json.loads(told)['detail']}"] += 1
        return False

    def _connection(self) -> http.client.HTTPConnection:
        """Give a connection that center has not closed meanwhile."""
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        return http.client.HTTPConnection(self._host, self._port)
