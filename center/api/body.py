"""The body of a request, before anybody looks at its fields: here in time, JSON, not too deep."""

from __future__ import annotations

import json
from typing import Any

from flask import request
from gevent import Timeout
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout, UnsupportedMediaType

from common.errors import BadPacket
from common.wire.values import DEPTH_LIMIT

DEEPEST = 2 * DEPTH_LIMIT + 16
"""Levels of a body: `data`, each level of it possibly in `$esc`, and what is around it.

Far below what Python's own decoder bears: that limit moves with the stack it is called on,
and the body is decoded again further down.
"""

READ_SECONDS = 10.0
"""Time a body has to arrive: one that trickles in holds one of the server's connections."""


def check_body() -> None:
    """Pass silently when a body can be read, or there is none.

    Raises:
        RequestTimeout: it does not come.
        RequestEntityTooLarge: it is; of one that does not say its size no more than the limit is read.
        UnsupportedMediaType: it is not called JSON; its fields would be said to be missing.
        BadPacket: it is no JSON in UTF-8 (NaN and Infinity are none), or nests too deep.
    """
    if request.method == "GET":
        return
    with Timeout(READ_SECONDS, RequestTimeout):
        body = request.get_data()
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(body) >= limit:
        raise RequestEntityTooLarge()
    if not body:
        return
    if not request.is_json:
        raise UnsupportedMediaType("the body must be application/json")
    try:
        value = json.loads(body.decode(), parse_constant=_no_number)
    except RecursionError:
        raise BadPacket("the body nests too deep") from None
    except ValueError as error:
        raise BadPacket(f"the body is not JSON: {error}") from None
    if is_deeper(value, DEEPEST):
        raise BadPacket("the body nests too deep")


def is_deeper(value: Any, limit: int) -> bool:
    """Tell whether lists and maps stand in each other more than `limit` deep; no recursion."""
    level = [value]
    for _ in range(limit + 1):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _inner(outer)]
        if not level:
            return False
    return True


def _inner(outer: dict[str, Any] | list[Any]) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
