from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient

from center.app import ROUTES, create_app
from common.net import log as logs
from tests.center.scene import Processes, make_door


class FakeBoard:
    """A board that says what it is told to."""

    def __init__(self) -> None:
        self.lacks: list[str] = []
        self.defect = False

    def rows(self) -> list[dict[str, Any]]:
        if self.defect:
            raise ZeroDivisionError("defect")
        return [{"group": "world", "index": 0, "pid": 7}]

    def missing(self) -> list[str]:
        return self.lacks

    def metrics(self) -> bytes:
        return b"# TYPE roost_up gauge\nroost_up 1.0\n"


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard()


@pytest.fixture
def lines() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def client(board: FakeBoard, lines: io.StringIO) -> FlaskClient:
    logs.setup("info", "center-0", lines)
    return create_app(board, logs.get(), make_door(Processes())).test_client()  # type: ignore[arg-type]


def test_healthz_of_a_ready_cluster_is_200(client: FlaskClient):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"ready": True})


def test_healthz_of_one_that_is_not_is_503_and_says_why(client: FlaskClient, board: FakeBoard):
    board.lacks = ["world-1: not answering", "dbserver-0: redis unreachable"]
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "missing": board.lacks}


def test_status_gives_rows_in_their_order_of_columns(client: FlaskClient, board: FakeBoard):
    answer = client.get("/v1/status")
    assert answer.json == {"ready": True, "processes": board.rows()}
    assert answer.data.index(b'"ready"') < answer.data.index(b'"processes"')
    assert answer.data.index(b'"index"') < answer.data.index(b'"pid"')


def test_status_of_a_cluster_that_is_not_ready_is_still_200(client: FlaskClient, board: FakeBoard):
    board.lacks = ["world-1: not answering"]
    answer = client.get("/v1/status")
    assert answer.status_code == 200
    assert answer.get_json()["ready"] is False


def test_metrics_is_a_prometheus_page(client: FlaskClient, board: FakeBoard):
    answer = client.get("/metrics")
    assert answer.data == board.metrics()
    assert answer.content_type.startswith("text/plain; version=")


def test_the_first_page_lists_every_route(client: FlaskClient):
    assert client.get("/").get_json()["routes"] == ROUTES
    rules = {rule.rule for rule in client.application.url_map.iter_rules()}
    assert {"/", *ROUTES} == {rule for rule in rules if not rule.startswith("/v1/")} | {"/v1/status"}


WRONG = {
    "unknown path": ("GET", "/nothing", 404, "not_found"),
    "wrong method": ("POST", "/healthz", 405, "unknown_op"),
    "long path": ("GET", "/" + "x" * 5000, 404, "not_found"),
}


@pytest.mark.parametrize("method, path, status, code", WRONG.values(), ids=WRONG)
def test_an_error_is_a_problem_document(client: FlaskClient, method: str, path: str, status: int, code: str):
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    body = answer.get_json(force=True)
    assert set(body) == {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code)


def test_a_wrong_method_is_told_the_right_ones(client: FlaskClient):
    assert "GET" in client.post("/healthz").headers["Allow"]


def test_a_defect_is_a_500_and_one_line_of_log(
    client: FlaskClient, board: FakeBoard, lines: io.StringIO, caplog: pytest.LogCaptureFixture
):
    board.defect = True
    answer = client.get("/v1/status")
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert b"ZeroDivision" not in answer.data
    assert answer.get_json(force=True)["code"] == "internal"
    assert lines.getvalue().count("\n") == 1
    assert caplog.records == []
    assert "ZeroDivisionError" in lines.getvalue()


def test_no_answer_may_be_stored_on_the_way(client: FlaskClient):
    for path in ("/", *ROUTES, "/nothing"):
        assert client.get(path).headers["Cache-Control"] == "no-store"
