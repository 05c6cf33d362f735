"""Errors as application/problem+json (RFC 9457).

    {"type": "about:blank", "title": "Bad Request", "status": 400, "code": "bad_field",
     "detail": "to must be …", "field": "to", …}

`code`, and the facts beside it, are those of docs/protocol.md, section 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from apiflask import HTTPError
from flask import Response
from werkzeug.exceptions import HTTPException

from common.errors import RequestError

CONTENT_TYPE = "application/problem+json"
STATUS = {
    "bad_packet": 400,
    "bad_field": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_op": 404,
    "not_joined": 409,
    "full": 409,
    "conflict": 409,
    "rate_limited": 429,
    "internal": 500,
    "busy": 503,
    "unavailable": 503,
    "timeout": 503,
}
"""code -> status. All that may work later is one status, which HTTP clients know to repeat."""
CODES = {
    400: "bad_packet",
    404: "not_found",
    405: "unknown_op",
    408: "timeout",
    413: "bad_packet",
    415: "bad_packet",
    500: "internal",
}
"""status -> code of what HTTP itself refuses."""
RETRY_SECONDS = 1
"""Told with what may work later, unless the error knows better."""
SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": list(STATUS)},
        "field": {"type": "string", "description": "which field is wrong"},
    },
    "required": ["type", "title", "status", "detail"],
}


def of_request(error: RequestError) -> Response:
    """Give the answer to a request that was refused; `code`, `field` and other facts go along."""
    status = STATUS.get(error.code, 500)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry:
        headers["Retry-After"] = str(ceil(error.facts.get("after", RETRY_SECONDS * 1000) / 1000))
    return document(status, error.message, headers, {"code": error.code, **error.facts})


def of_http(error: HTTPException) -> Response:
    """Give the answer to what HTTP itself refuses, with the headers it asks for (Allow …)."""
    headers = {key: value for key, value in error.get_headers() if key.lower() != "content-type"}
    status = error.code or 500
    facts = {"code": CODES[status]} if status in CODES else {}
    return document(status, error.description or "", headers, facts, error.name)


def of_fields(error: HTTPError) -> Response:
    """Give the answer to fields that do not fit: the first by `field`, all of them in `errors`."""
    wrong: list[dict[str, str]] = []
    for place in (error.detail or {}).values():
        wrong += [{"field": name, "detail": text} for name, text in _flat(place, "")]
    if not wrong:
        return document(error.status_code, error.message or "", {}, {"code": "bad_packet"})
    first = wrong[0]
    detail = f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
    facts = {"code": "bad_field", "field": first["field"], "errors": wrong}
    return document(400, detail, {}, facts)


def document(
    status: int, detail: str, headers: Mapping[str, str], facts: Mapping[str, Any], title: str = ""
) -> Response:
    """Give a problem document."""
    body = {
        "type": "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **facts,
    }
    return Response(json.dumps(body), status=status, headers=dict(headers), content_type=CONTENT_TYPE)


def _flat(detail: Any, path: str) -> list[tuple[str, str]]:
    """Give (field, text) of marshmallow's messages: {"to": {3: ["…"]}} -> ("to.3", "…")."""
    if isinstance(detail, Mapping):
        found = []
        for name, inner in detail.items():
            under = "" if name == "_schema" else str(name)
            found += _flat(inner, f"{path}.{under}" if path and under else path or under)
        return found
    texts = detail if isinstance(detail, list) else [detail]
    readable = path.encode("utf-8", "replace").decode()
    return [(readable, str(text)) for text in texts]
