"""Asks center's API as an operator, with a key of its own for each product.

run/operator/<product>.key   mode 0600; made at the first use, and again when center refuses it
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RequestError, Unauthorized, Unavailable, rebuild
from common.places import Places
from common.settings import Settings
from tools import apikeys, center

TIMEOUT = 60.0
"""Seconds an answer may take: a broadcast is paced."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Operator:
    """Calls the API of a running cluster for one product."""

    def __init__(self, settings: Settings, product: str) -> None:
        places = Places(settings)
        self._settings = settings
        self._product = product
        self._url = center.base_url(settings, places)
        self._path = places.run_dir / "operator" / f"{product}.key"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Give the JSON answer; a key center does not know (storage began anew) is replaced once.

        Raises:
            RequestError: what center refused with, by its code; Unavailable when nobody answers.
            ConfigError: the key's file is open to others, or cannot be written.
        """
        try:
            return self._send(method, path, body, self._key())
        except Unauthorized:
            self._path.unlink(missing_ok=True)
            return self._send(method, path, body, self._key())

    def _key(self) -> str:
        """Give the operator's key, made and stored if there is none."""
        try:
            mode = stat.S_IMODE(self._path.stat().st_mode)
        except FileNotFoundError:
            return self._make()
        if mode & 0o077:
            raise ConfigError(
                f"{self._path} has mode {mode:04o}, others may read it; run `chmod 600 {self._path}`"
            )
        return self._path.read_text().strip()

    def _make(self) -> str:
        text = apikeys.create(self._settings, self._product, ["admin"], "./roost on this host")
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            _write_whole(self._path, text)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}; run as its owner") from None
        return text

    def _send(self, method: str, path: str, body: Any, key: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error.code, error.read()) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"center does not answer at {self._url}: {error}") from None


def _refusal(status: int, body: bytes) -> RequestError:
    """Give center's problem document as the error it stands for."""
    try:
        told = json.loads(body)
        facts = {k: v for k, v in told.items() if k not in ("type", "title", "status", "detail", "code")}
        named = "".join(f"; {name}: {_short(fact)}" for name, fact in facts.items() if name != "errors")
        return rebuild(str(told.get("code", "internal")), f"{told['detail']}{named}", facts)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unavailable(f"center answers {status}: {body[:200].decode(errors='replace')}")


def _short(fact: Any) -> str:
    """Give a fact on a line: of a list the first few."""
    if not isinstance(fact, list):
        return str(fact)
    shown = ", ".join(map(str, fact[:5]))
    return f"{shown}, … ({len(fact)})" if len(fact) > 5 else shown


def _write_whole(path: Path, text: str) -> None:
    """Put a file in place at once, for its owner only."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    draft.replace(path)
