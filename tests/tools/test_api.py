from __future__ import annotations

import argparse
import json
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from common.errors import ConfigError, NotFound, Unauthorized, Unavailable
from common.settings import Settings, load
from tools import apikeys, center
from tools.api import Operator
from tools.main import main, parser
from tools.push import body_of, message


class Web(BaseHTTPRequestHandler):
    """A center that knows one key and answers by path."""

    key: ClassVar[str] = ""
    answers: ClassVar[dict[str, tuple[int, Any]]] = {}
    asked: ClassVar[list[tuple[str, str, Any]]] = []

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.asked.append((self.command, self.path, body))
        status, told = self.answers.get(self.path, (200, {}))
        if self.headers["Authorization"] != f"Bearer {self.key}":
            status, told = 401, {"code": "unauthorized", "detail": "no valid API key", "status": 401}
        self.send_response(status)
        self.end_headers()
        self.wfile.write(told.encode() if isinstance(told, str) else json.dumps(told).encode())

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A center, and a storage in which every key is made as `k1`, `k2`, …"""
    Web.key, Web.answers, Web.asked = "k1", {}, []
    made: list[tuple[Any, ...]] = []

    def create(settings: Settings, *rest: Any) -> str:
        made.append(rest)
        return f"k{len(made)}"

    monkeypatch.setattr(apikeys, "create", create)
    with HTTPServer(("127.0.0.1", 0), Web) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield load({"ROOST_PORT": str(server.server_port - 2), "ROOST_RUN_DIR": str(tmp_path)})
        finally:
            server.shutdown()
            serving.join()


def test_the_first_use_makes_a_key_nobody_else_can_read(web: Settings, tmp_path: Path) -> None:
    operator = Operator(web, "demo")
    Web.answers["/v1/stats"] = (200, {"users": 1})
    assert operator.call("GET", "/v1/stats") == operator.call("GET", "/v1/stats") == {"users": 1}
    path = tmp_path / "operator" / "demo.key"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("k1\n", 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["demo.key"]


def test_a_key_center_no_longer_knows_is_replaced_once(web: Settings, tmp_path: Path) -> None:
    Operator(web, "demo").call("GET", "/v1/stats")
    Web.key = "k2"
    Operator(web, "demo").call("GET", "/v1/stats")
    assert (tmp_path / "operator" / "demo.key").read_text() == "k2\n"
    Web.key = "another"
    with pytest.raises(Unauthorized):
        Operator(web, "demo").call("GET", "/v1/stats")


def test_a_key_others_may_read_is_not_used(web: Settings, tmp_path: Path) -> None:
    Operator(web, "demo").call("GET", "/v1/stats")
    (tmp_path / "operator" / "demo.key").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Operator(web, "demo").call("GET", "/v1/stats")


def test_a_refusal_is_the_error_it_stands_for_with_its_facts_in_words(web: Settings) -> None:
    told = {"type": "about:blank", "title": "Not Found", "status": 404, "code": "not_found"}
    Web.answers["/v1/x"] = (404, {**told, "detail": "some are unknown", "users": [f"u{n}" for n in range(7)]})
    with pytest.raises(NotFound) as caught:
        Operator(web, "demo").call("POST", "/v1/x", {})
    assert caught.value.message == "some are unknown; users: u0, u1, u2, u3, u4, … (7)"
    assert caught.value.facts == {"users": [f"u{n}" for n in range(7)]}


def test_an_answer_that_is_no_problem_document_is_told_as_it_is(web: Settings) -> None:
    Web.answers["/v1/x"] = (502, "bad gateway")
    with pytest.raises(Unavailable, match="502: bad gateway"):
        Operator(web, "demo").call("GET", "/v1/x")


def test_nobody_there_is_unavailable(web: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(center, "base_url", lambda settings, places: "http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="does not answer"):
        Operator(web, "demo").call("GET", "/v1/x")


TYPED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("unicast alice hello", {"to": "alice", "data": "hello"}),
    "JSON": ('unicast alice {"a":[1]}', {"to": "alice", "data": {"a": [1]}}),
    "null": ("unicast alice null", {"to": "alice", "data": None}),
    "a word Python takes for a number": ("unicast alice NaN", {"to": "alice", "data": "NaN"}),
    "brackets without end": (f"unicast alice {'[' * 9_999}", {"to": "alice", "data": "[" * 9_999}),
    "kept": (
        "unicast alice 1 --keep --ttl 2h --key k --receipt",
        {"to": "alice", "data": 1, "keep": True, "ttl": 7200, "key": "k", "receipt": True},
    ),
    "several": ("multicast a,b 1", {"to": ["a", "b"], "data": 1}),
    "by tags": ("multicast - 1 --tags vip,eu", {"tags": ["vip", "eu"], "data": 1}),
    "all": ("broadcast 1 --rate 50", {"data": 1, "rate": 50}),
    "a room": ("room plaza/a 1 --key k", {"room": "plaza/a", "data": 1, "key": "k"}),
}


@pytest.mark.parametrize("typed, body", TYPED.values(), ids=TYPED)
def test_what_is_typed_becomes_the_body_of_the_request(typed: str, body: dict[str, Any]) -> None:
    assert body_of(parser().parse_args(["push", *typed.split()])) == body


def test_a_message_is_told_head_first_and_page_by_page(
    web: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    Web.answers["/v1/messages/5"] = (200, {"mid": 5, "receivers": [{"uid": "a"}], "after": "a"})
    Web.answers["/v1/messages/5?after=a"] = (200, {"mid": 5, "receivers": [{"uid": "b"}], "after": None})
    assert message(Operator(web, "demo"), 5, None) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"mid": 5},
        {"uid": "a"},
        {"uid": "b"},
    ]


WRONG = {
    "no product": ["apikey", "--scopes", "push"],
    "product with a slash": ["apikey", "--product", "a/b", "--scopes", "push"],
    "no kind": ["push"],
    "no data": ["push", "unicast", "alice"],
    "unknown kind": ["push", "all", "x"],
    "mid in words": ["message", "five"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_a_wrong_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize("scopes", ["", "push,all", ","])
def test_wrong_scopes_are_said_before_anybody_is_asked(
    scopes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apikey", "--product", "demo", "--scopes", scopes]) == 2
    assert "push,read,users" in capsys.readouterr().err


def test_scopes_are_read_once_each_in_their_order() -> None:
    assert apikeys.scopes_of("read, push,read") == ["push", "read"]


def test_a_revoke_needs_an_id() -> None:
    assert isinstance(parser(), argparse.ArgumentParser)
    assert main(["apikey", "revoke", "--product", "demo"]) == 2
