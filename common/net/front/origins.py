"""Which web pages may use the HTTP port: those it serves itself, and those of `gateway.origins`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

EVERY = "*"


def may(origins: Sequence[str], headers: Mapping[str, str]) -> bool:
    """Tell whether a request's page may; one without `Origin` is no page's, and passes.

    Args:
        origins: "scheme://host[:port]" each, or "*".
        headers: of the request, names in lower case.
    """
    origin = headers.get("origin")
    if origin is None or EVERY in origins or origin in origins:
        return True
    return origin.partition("://")[2] == headers.get("host", "")


def cors_headers(origins: Sequence[str], headers: Mapping[str, str]) -> dict[str, str]:
    """Give the headers that let a browser hand an answer to its page; none when it may not."""
    origin = headers.get("origin")
    if origin is None or not may(origins, headers):
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "Content-Type, Last-Event-ID",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }
