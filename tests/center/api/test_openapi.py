from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.center.scene import Api, Processes

CHECKS: Any = [not_a_server_error, content_type_conformance, response_schema_conformance]
LOAD = {"connections": 10, "limit": 100, "address": "h:1", "state": "ready"}
PRESENT = {"online": True, "since": 1, "devices": [{"device": "d", "kind": "web", "gateway": "gateway-0"}]}
STORED: dict[str, Any] = {
    "sequence": 1,
    "seen": None,
    "online": 1.5,
    "depth": 0,
    "bytes": 0,
    "dropped": 0,
    "seq": 0,
    "devices": {},
    "banned": None,
}
HEAD = {"sender": "", "time": 1, "expires": 2, "bseq": 0, "acked": 0, "written": 0}


def every_call_answered() -> Processes:
    return Processes(
        deliver=lambda peer, users, *_: len(users),
        tell=lambda peer, rows, *_: len(rows),
        mail_send=lambda peer, product, sender, key, mid, body, users, *_: [
            mid,
            dict.fromkeys(users, 2),
            dict.fromkeys(users, 1),
        ],
        bcast_send=lambda peer, product, sender, key, mid, *_: [mid, 2, 1],
        tagged=["p/alice"],
        load=LOAD,
        broadcast=3,
        publish=[5, 6],
        user_info=STORED,
        user_add=1,
        user=PRESENT,
        kick=1,
        tags=True,
        device_mark=None,
        ban=None,
        unban=True,
        assign=1,
        rooms=[["p/plaza/a", 2, 3]],
        room={
            "epoch": 1,
            "offset": 2,
            "first": 1,
            "more": False,
            "count": 1,
            "users": [["a", [["d", "web"]], 1]],
            "messages": [[2, "a", b"\x01", 3]],
        },
        stats={"users": 1, "devices": 2},
        ledger=[HEAD, [["a", 1, "", [["d", "acked", ""]]]], None],
    )


@pytest.fixture(scope="module")
def api() -> Api:
    return Api(every_call_answered())


@pytest.fixture(scope="module")
def spec(api: Api) -> dict[str, Any]:
    answer = api.get("/openapi.json", key="").get_json()
    assert isinstance(answer, dict)
    return answer


def test_the_document_is_valid_openapi(spec: dict[str, Any]):
    validate(spec)


def test_the_document_has_every_route_of_the_api(api: Api, spec: dict[str, Any]):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/")
    }
    told = {(path, method) for path, operations in spec["paths"].items() for method in operations}
    assert routes <= told
    assert len(routes) == 18


def test_every_operation_of_the_api_says_what_key_it_needs(spec: dict[str, Any]):
    for path, operations in spec["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/") and path != "/v1/status":
                assert operation["security"] and operation["x-scope"] and operation["summary"], path


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(api: Api, spec: dict[str, Any]):
    answer = api.get("/docs", key="")
    for path in spec["paths"]:
        assert f">{path}<" in answer.text
    assert "Idempotency-Key" in answer.text
    assert re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"' >)]+)""", answer.text) == ["openapi.json"]
    assert "script" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def statuses(api: Api, operation: Any) -> set[int]:
    """Send requests made from an operation's own document; give the statuses they were answered with."""
    answered: set[int] = set()
    headers = {"Authorization": f"Bearer {api.key}"}

    @given(case=operation.as_strategy())
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def run(case: Any) -> None:
        answered.add(case.call_and_validate(headers=headers, checks=CHECKS).status_code)

    run()
    return answered


def test_no_request_made_from_the_document_meets_a_defect(api: Api):
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", api.client.application)
    operations = [result.ok() for result in schema.get_all_operations()]
    found = {f"{it.method.upper()} {it.path}": statuses(api, it) for it in operations}
    assert len(found) >= 18
    for name in (
        "POST /v1/push/unicast",
        "POST /v1/push/multicast",
        "GET /v1/rooms",
        "POST /v1/users/{uid}/ban",
    ):
        assert 200 in found[name]
