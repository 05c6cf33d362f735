"""Asks a running center."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from common.places import Places
from common.settings import Settings

TIMEOUT = 4.0
"""Seconds an answer may take; center itself waits center.timeout for each process."""

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def base_url(settings: Settings, places: Places) -> str:
    """Give center's address as seen from this host."""
    host = WILDCARDS.get(settings.center.host, settings.center.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{places.center_port}"


def get(url: str) -> tuple[int, str] | None:
    """Give (status, body); None when nobody answers in time."""
    try:
        with _OPENER.open(url, timeout=TIMEOUT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None


def healthy(settings: Settings, places: Places) -> tuple[bool, str]:
    """Give whether the whole cluster is ready, and center's words about it."""
    answer = get(f"{base_url(settings, places)}/healthz")
    if answer is None:
        return False, "center does not answer yet"
    return answer[0] == 200, words_of(answer[1])


def words_of(body: str) -> str:
    """Give what /healthz says is missing, as one line."""
    try:
        return ", ".join(json.loads(body)["missing"])
    except (ValueError, KeyError, TypeError):
        return body.strip()


def status(settings: Settings, places: Places) -> dict[str, Any] | None:
    """Give /v1/status; None when center has no answer."""
    answer = get(f"{base_url(settings, places)}/v1/status")
    if answer is None or answer[0] != 200:
        return None
    try:
        value = json.loads(answer[1])
    except ValueError:
        return None
    return value if isinstance(value, dict) and "processes" in value else None
