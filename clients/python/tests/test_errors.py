"""The error tree."""

from __future__ import annotations

import pytest

from roost_client import errors
from roost_client.errors import BY_CODE, RequestError, from_body

CODES = [
    "bad_packet",
    "unknown_op",
    "bad_field",
    "unauthorized",
    "forbidden",
    "not_found",
    "not_joined",
    "full",
    "conflict",
    "rate_limited",
    "busy",
    "unavailable",
    "timeout",
    "internal",
]


def test_every_code_of_the_protocol_has_its_class() -> None:
    assert sorted(BY_CODE) == sorted(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_body_becomes_the_class_of_its_code(code: str) -> None:
    error = from_body({"code": code, "message": "no", "retry": True, "field": "room"})
    assert type(error) is BY_CODE[code]
    assert (error.code, error.message, error.retry, error.facts) == (code, "no", True, {"field": "room"})


def test_an_unknown_code_keeps_its_name() -> None:
    error = from_body({"code": "brand_new", "retry": False})
    assert type(error) is RequestError
    assert error.code == "brand_new" and str(error) == "brand_new"


def test_timeouts_and_losses_are_also_the_builtin_kinds() -> None:
    assert issubclass(errors.Timeout, TimeoutError)
    assert issubclass(errors.ConnectionLost, ConnectionError)
    assert errors.Timeout.retry and errors.ConnectionLost.retry and not errors.ClientClosed.retry
