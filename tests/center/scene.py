"""The API over processes that only record what they are asked, and a client with a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from center.api.door import Door, Secrets
from center.app import create_app
from common.errors import RequestError
from common.net import log as logs
from common.places import Places
from common.settings import Settings, TokenKey, load
from common.wire.apikeys import make_key

NOW = 1_800_000_000.0
NOW_MS = 1_800_000_000_000
TOKEN_KEY = TokenKey(key="t" * 32)
TICKET_KEY = b"r" * 32
FIRST_ID = 7_000
CALLS: dict[str, tuple[str, str, Any, str]] = {
    "unicast": ("POST", "/v1/push/unicast", {"to": "alice", "data": 1}, "push"),
    "multicast": ("POST", "/v1/push/multicast", {"to": ["alice"], "data": 1}, "push"),
    "broadcast": ("POST", "/v1/push/broadcast", {"data": 1}, "push"),
    "room message": ("POST", "/v1/push/room", {"room": "plaza/a", "data": 1}, "push"),
    "user": ("GET", "/v1/users/alice", None, "read"),
    "new user": ("PUT", "/v1/users/alice", None, "users"),
    "tags": ("PUT", "/v1/users/alice/tags", {"tags": []}, "users"),
    "kick": ("POST", "/v1/users/alice/kick", {}, "users"),
    "ban": ("POST", "/v1/users/alice/ban", {}, "users"),
    "unban": ("POST", "/v1/users/alice/unban", None, "users"),
    "join": ("POST", "/v1/users/alice/join", {"room": "plaza/a"}, "rooms"),
    "leave": ("POST", "/v1/users/alice/leave", {"room": "plaza/a"}, "rooms"),
    "rooms": ("GET", "/v1/rooms", None, "read"),
    "room": ("GET", "/v1/rooms/plaza/a", None, "read"),
    "stats": ("GET", "/v1/stats", None, "read"),
    "message": ("GET", "/v1/messages/5", None, "read"),
    "dispatch": ("GET", "/v1/dispatch?uid=alice", None, "users"),
}
"""Every call of the API: method, path, body, and the scope it needs."""

Answer = Any | Callable[..., Any]


class Call:
    """One call that was made."""

    def __init__(self, peer: str, method: str, args: list[Any], timeout: float | None) -> None:
        self.peer = peer
        self.method = method
        self.args = args
        self.timeout = timeout


class Processes:
    """Stands for all processes: answers by method, records every call.

    `answers[method]` is a value, a RequestError to raise, or a function of (peer, *args).
    `answers["peer method"]` comes first.
    """

    def __init__(self, **answers: Answer) -> None:
        self.calls: list[Call] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Answer] = {
            "ids_take": FIRST_ID,
            "apikey_get": lambda peer, number: self.keys.get(number),
            "mail_body": None,
            "bcast_written": None,
            **answers,
        }

    def call(self, peer: str, method: str, *args: Any, timeout: float | None = None) -> Any:
        sent = msgpack.unpackb(msgpack.packb(args), strict_map_key=False)
        self.calls.append(Call(peer, method, sent, timeout))
        answer = self.answers.get(f"{peer} {method}", self.answers.get(method, AssertionError(method)))
        answer = answer(peer, *sent) if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call_each(
        self, peers: tuple[str, ...], method: str, *args: Any, timeout: float | None = None
    ) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for peer in peers:
            try:
                answers[peer] = self.call(peer, method, *args, timeout=timeout)
            except RequestError as error:
                answers[peer] = error
        return answers

    def of(self, method: str) -> list[Call]:
        """Give the calls of one method."""
        return [call for call in self.calls if call.method == method]

    def methods(self) -> list[str]:
        """Name what was called, without what every request asks."""
        return [call.method for call in self.calls if call.method not in ("apikey_get", "ids_take")]

    def make_key(self, product: str = "p", scopes: str = "admin", revoked: int | None = None) -> str:
        """Store a key; give its text."""
        made = make_key(len(self.keys).to_bytes(8), b"s" * 32)
        self.keys[made.id] = {
            "id": made.id,
            "product": product,
            "hash": made.hash,
            "scopes": scopes.split(","),
            "label": "",
            "created": 1,
            "revoked": revoked,
        }
        return made.text


class FakeBoard:
    """A board with nothing on it."""

    def rows(self) -> list[dict[str, Any]]:
        return []

    def missing(self) -> list[str]:
        return []

    def metrics(self) -> bytes:
        return b""


class Api:
    """A client of the API; each method sends with `key` unless told otherwise."""

    def __init__(self, processes: Processes, **settings: Any) -> None:
        logs.setup("error", "center-0")
        self.processes = processes
        self.door = make_door(processes, **settings)
        self.client: FlaskClient = create_app(FakeBoard(), logs.get(), self.door).test_client()  # type: ignore[arg-type]
        self.key = processes.make_key()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:
        """Send a request.

        Args:
            body: JSON; None for none.
            key: "" for none.
        """
        given = self.key if key is None else key
        headers = {**({"Authorization": f"Bearer {given}"} if given else {}), **(headers or {})}
        return self.client.open(path, method=method, json=body, headers=headers)

    def post(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """POST."""
        return self.send("POST", path, {} if body is None else body, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        """GET."""
        return self.send("GET", path, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> TestResponse:
        """PUT."""
        return self.send("PUT", path, body, **options)


def settings_of(**values: Any) -> Settings:
    """Give settings; `center__request_bytes=…` stands for center.request_bytes."""
    return load({}, {name.replace("__", "."): value for name, value in values.items()})


def make_door(processes: Processes, **values: Any) -> Door:
    """Give a door whose time stands at NOW."""
    settings = settings_of(**values)
    secrets = Secrets((TOKEN_KEY,), TICKET_KEY)
    return Door(processes, Places(settings), settings, secrets, logs.get(), lambda: NOW)


def problem(answer: TestResponse) -> dict[str, Any]:
    """Give the problem an answer is."""
    assert answer.content_type == "application/problem+json", answer.text
    body: dict[str, Any] = answer.get_json(force=True)
    assert body["status"] == answer.status_code
    return body
