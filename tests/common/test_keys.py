from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from common.errors import ConfigError
from common.keys import Secrets, load_secrets, make_secrets, redis_socket, redis_url
from common.places import Places, secrets_path
from common.settings import load


def test_the_first_run_makes_private_secrets_and_the_next_one_keeps_them(tmp_path: Path) -> None:
    made = make_secrets(tmp_path / "run")
    path = secrets_path(tmp_path / "run")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make_secrets(tmp_path / "run") == made == load_secrets(tmp_path / "run")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_secret_is_long_and_another_one(tmp_path: Path) -> None:
    values = set(
        dataclasses.astuple(make_secrets(tmp_path / "a")) + dataclasses.astuple(make_secrets(tmp_path / "b"))
    )
    assert len(values) == 6
    assert all(len(value) == 64 for value in values)


def test_secrets_do_not_show_in_a_traceback(tmp_path: Path) -> None:
    made = make_secrets(tmp_path)
    assert made.token_key not in repr(made)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "make run"),
    "open to the group": (lambda path: path.chmod(0o640), "chmod 600"),
    "open to the world": (lambda path: path.chmod(0o604), "chmod 600"),
    "not toml": (lambda path: path.write_text("token_key = "), "damaged"),
    "a key is missing": (lambda path: path.write_text('token_key = "x"\n'), "no resume_key"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_secrets_that_cannot_be_used_are_refused_with_the_cure(tmp_path: Path, case: str) -> None:
    make_secrets(tmp_path)
    damage, cure = DAMAGE[case]
    damage(secrets_path(tmp_path))
    with pytest.raises(ConfigError, match=cure):
        load_secrets(tmp_path)


def test_a_loose_umask_does_not_open_the_secrets(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_secrets(tmp_path)
    finally:
        os.umask(before)
    assert load_secrets(tmp_path).token_key


def test_your_own_redis_is_used_as_given(tmp_path: Path) -> None:
    settings = load({"ROOST_REDIS_URL": "redis://host:1/2", "ROOST_RUN_DIR": str(tmp_path)})
    assert redis_url(settings, Places(settings), Secrets("a", "b", "c")) == "redis://host:1/2"


def test_the_bundled_redis_is_reached_through_its_socket_with_the_password(tmp_path: Path) -> None:
    run_dir = tmp_path / "a folder"
    settings = load({"ROOST_RUN_DIR": str(run_dir)})
    places = Places(settings)
    pool = redis.ConnectionPool.from_url(redis_url(settings, places, Secrets("a", "b", "c")))
    assert pool.connection_kwargs["path"] == str(redis_socket(places.run_dir))
    assert pool.connection_kwargs["password"] == "c"
