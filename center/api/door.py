"""What the API's handlers work with, and who may come to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from flask import current_app, g, request

from center.api.body import check_body
from center.api.keyring import Key, Keyring
from center.audit import Audit
from center.sending import Calls, Sending
from common.errors import BadField, RequestError, Unavailable
from common.net.dbclient import Dbservers
from common.net.log import Logger
from common.places import Places
from common.settings import Settings
from common.wire.names import is_name, user_key
from common.wire.tokens import Key as TokenKey

NAME = "roost.door"
Given = ParamSpec("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Secrets:
    """What clients' tokens are verified and tickets signed with."""

    token_keys: Sequence[TokenKey]
    ticket_key: bytes


class Door:
    """The way from the web to the cluster.

    Args:
        callers: the process's calls.
        clock: unix seconds.
    """

    def __init__(
        self,
        callers: Calls,
        places: Places,
        settings: Settings,
        secrets: Secrets,
        log: Logger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.callers = callers
        self.places = places
        self.settings = settings
        self.secrets = secrets
        self.clock = clock
        self.sending = Sending(callers, places, settings, log, clock)
        self.dbservers: Dbservers = self.sending.dbservers
        self.audit = Audit(self.dbservers, log)
        center = settings.center
        self.keyring = Keyring(self._find_key, center.key_fresh, center.requests_per_second)

    def now_ms(self) -> int:
        """Give unix ms."""
        return int(self.clock() * 1000)

    def store(self, method: str, *args: Any) -> Any:
        """Call a dbserver."""
        return self.dbservers.call(method, *args, timeout=self.settings.center.api_timeout)

    def session(self, user: str, method: str, *args: Any) -> Any:
        """Call the session that owns a user (product/uid); the user is the first argument."""
        peer = self.places.session_of(user)
        return self.callers.call(peer, method, user, *args, timeout=self.settings.center.api_timeout)

    def world(self, room: str, method: str, *args: Any) -> Any:
        """Call the world that owns a room (product/map/name); the room is the first argument."""
        peer = self.places.world_of(room)
        return self.callers.call(peer, method, room, *args, timeout=self.settings.center.api_timeout)

    def each(self, peers: tuple[str, ...], method: str, *args: Any) -> dict[str, Any]:
        """Call several at once; give what all of them answered.

        Raises:
            Unavailable: one did not; the first is named.
        """
        answers = self.callers.call_each(peers, method, *args, timeout=self.settings.center.api_timeout)
        for name, answer in answers.items():
            if isinstance(answer, RequestError):
                raise Unavailable(f"{name}: {answer.message}") from answer
        return answers

    @contextmanager
    def noting(self, kind: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """Write what the key of this request does within the block into the audit log.

        What may have been done although it failed is written too, as `failed`: a code. The
        block may add to the facts it is given.
        """
        key = caller()
        try:
            yield facts
        except RequestError as error:
            if error.retry:
                told = {name: error.facts[name] for name in ("mid", "online") if name in error.facts}
                self.audit.note(key.product, key.id, kind, self.now_ms(), **facts, **told, failed=error.code)
            raise
        self.audit.note(key.product, key.id, kind, self.now_ms(), **facts)

    def _find_key(self, number: str) -> dict[str, Any] | None:
        key: dict[str, Any] | None = self.store("apikey_get", number)
        return key


def door() -> Door:
    """Give the door of the application that serves this request."""
    found: Door = current_app.extensions[NAME]
    return found


def caller() -> Key:
    """Give the API key of this request."""
    key: Key = g.key
    return key


def bearer() -> str:
    """Give what `Authorization: Bearer` carries, "" when there is no such header."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else ""


def allowed(scope: str) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Give a decorator that lets in requests whose key has the scope; others never reach the checks."""

    def decorate(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
        @wraps(function)
        def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
            g.key = door().keyring.admit(bearer(), scope)
            check_body()
            return function(*args, **kwargs)

        spec: dict[str, Any] = guarded.__dict__.setdefault("_spec", {})
        spec["security"] = [{"ApiKey": []}]
        spec["extensions"] = {"x-scope": scope}
        return guarded

    return decorate


def user_of(uid: str) -> str:
    """Give the user (product/uid) a path names, of the key's own product.

    Raises:
        BadField: not a name.
    """
    if not is_name(uid):
        raise BadField("uid must be 1 to 64 of A-Z a-z 0-9 . _ - : @", field="uid")
    return user_key(caller().product, uid)


def idempotency_key(fields: dict[str, Any]) -> str:
    """Give the key of a request: its field `key` or its header `Idempotency-Key`; "" = none.

    Raises:
        BadField: the header is not a name, or both are there and differ.
    """
    header = request.headers.get("Idempotency-Key")
    if header is None:
        return str(fields["key"] or "")
    header = header.strip().strip('"')
    if not is_name(header):
        raise BadField("Idempotency-Key must be 1 to 64 of A-Z a-z 0-9 . _ - : @", field="Idempotency-Key")
    if fields["key"] not in (None, header):
        raise BadField("key and Idempotency-Key differ", field="key")
    return header
