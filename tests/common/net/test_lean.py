from __future__ import annotations

import subprocess
import sys

import pytest

from common.settings import ROOT

HEAVY = (
    "asyncio",
    "email.message",
    "http.client",
    "http.server",
    "importlib.metadata",
    "prometheus_client",
    "redis",
    "rich",
    "ssl",
    "urllib.request",
    "wsgiref",
    "zipfile",
)


def loaded(code: str) -> list[str]:
    """Run code in an interpreter of its own; give which of the heavy modules it has loaded then."""
    code += f"\nimport sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("group", ["gateway", "world"])
def test_a_process_does_not_load_what_it_does_not_use(group: str) -> None:
    assert loaded(f"import servers.{group}") == []


def test_who_wants_what_was_kept_out_gets_the_real_one() -> None:
    code = "import servers.gateway, asyncio, importlib.metadata, ssl; asyncio.run; importlib.metadata.version"
    assert {"asyncio", "importlib.metadata", "ssl"} <= set(loaded(code))


def test_storage_has_the_cooperative_ssl_before_redis_takes_it() -> None:
    code = "import servers.dbserver, ssl, redis.connection as r; assert 'gevent' in ssl.SSLContext.__module__"
    assert "redis" in loaded(code + "; assert r.ssl is ssl")
