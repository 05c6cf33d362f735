from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from common.places import Places
from common.settings import Settings, load
from tools import center

Answers = dict[str, tuple[int, str]]


class Door(BaseHTTPRequestHandler):
    answers: ClassVar[Answers] = {}

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[tuple[Settings, Answers]]:
    """A center that gives the answers put into the dict."""
    Door.answers = {}
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield load({"ROOST_PORT": str(server.server_port - 2)}), Door.answers
        finally:
            server.shutdown()
            serving.join()


def test_a_cluster_is_healthy_when_center_says_so(door: tuple[Settings, Answers]) -> None:
    settings, answers = door
    answers["/healthz"] = (200, '{"ready": true}')
    assert center.healthy(settings, Places(settings))[0]


def test_what_is_missing_is_told_on_one_line(door: tuple[Settings, Answers]) -> None:
    settings, answers = door
    answers["/healthz"] = (503, '{"ready": false, "missing": ["world-1: starting", "redis: away"]}')
    assert center.healthy(settings, Places(settings)) == (False, "world-1: starting, redis: away")


def test_words_that_are_no_document_are_told_as_they_are(door: tuple[Settings, Answers]) -> None:
    settings, answers = door
    answers["/healthz"] = (502, " bad gateway\n")
    assert center.healthy(settings, Places(settings)) == (False, "bad gateway")


def test_the_status_is_given_as_center_tells_it(door: tuple[Settings, Answers]) -> None:
    settings, answers = door
    told = {"ready": True, "processes": []}
    answers["/v1/status"] = (200, json.dumps(told))
    assert center.status(settings, Places(settings)) == told


NO_STATUS: Answers = {"an error": (500, "{}"), "no JSON": (200, "hello"), "something else": (200, "[]")}


@pytest.mark.parametrize("case", NO_STATUS)
def test_an_answer_that_is_no_status_is_none(door: tuple[Settings, Answers], case: str) -> None:
    settings, answers = door
    answers["/v1/status"] = NO_STATUS[case]
    assert center.status(settings, Places(settings)) is None


def test_nobody_there_is_no_answer() -> None:
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        settings = load({"ROOST_PORT": str(server.server_port - 2)})
    assert center.status(settings, Places(settings)) is None
    assert center.healthy(settings, Places(settings)) == (False, "center does not answer yet")


def test_a_center_for_all_addresses_is_asked_on_this_host() -> None:
    settings = load({"ROOST_CENTER_HOST": "0.0.0.0"})
    assert center.base_url(settings, Places(settings)) == "http://127.0.0.1:7002"
