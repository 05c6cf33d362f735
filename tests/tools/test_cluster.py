from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.places import Places
from common.settings import ROOT, load
from tools import cluster


def environment(base: dict[str, str]) -> dict[str, str]:
    settings = load({key: value for key, value in base.items() if key.startswith("ROOST_")})
    return cluster.environment_for(settings, Places(settings), base)


def test_the_processes_get_the_settings_as_they_were_checked(tmp_path: Path) -> None:
    made = environment(
        {"ROOST_RUN_DIR": str(tmp_path), "ROOST_CLUSTER_MAPS": '{"a": 2, "b": 1}', "HOME": "/h"}
    )
    assert made["HOME"] == "/h"
    assert made["SUPERVISE_WORLDS"] == "3"
    own = {key: value for key, value in made.items() if key.startswith("ROOST_")}
    assert load(own) == load({"ROOST_RUN_DIR": str(tmp_path), "ROOST_CLUSTER_MAPS": '{"a": 2, "b": 1}'})


def test_the_run_folder_is_handed_down_whole_however_it_was_named() -> None:
    made = environment({"ROOST_CLUSTER_RUN_DIR": "somewhere"})
    assert made["ROOST_RUN_DIR"] == made["ROOST_CLUSTER_RUN_DIR"]
    assert Path(made["ROOST_RUN_DIR"]).is_absolute()


def test_the_launchers_path_does_not_reach_the_processes() -> None:
    assert "PYTHONPATH" not in environment({"PYTHONPATH": "/x"})


def test_processes_keep_what_they_compiled_whatever_the_image_says() -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in environment({"PYTHONDONTWRITEBYTECODE": "1"})


def test_with_a_redis_of_your_own_none_is_started() -> None:
    assert environment({"ROOST_REDIS_URL": "redis://host"})["SUPERVISE_REDIS_BUNDLED"] == "false"
    assert environment({})["SUPERVISE_REDIS_BUNDLED"] == "true"


def test_a_gateway_has_longer_to_stop_than_its_clients_have_to_leave() -> None:
    assert environment({"ROOST_GATEWAY_STOP_TIMEOUT": "4.5"})["SUPERVISE_GATEWAY_STOP"] == "10"


def test_every_name_supervisord_conf_expands_is_handed_over() -> None:
    lines = (ROOT / "supervisord.conf").read_text().splitlines()
    expanded = {name for line in lines if line[:1] != ";" for name in re.findall(r"%\(ENV_(\w+)\)s", line)}
    assert "ROOST_RUN_DIR" in expanded
    assert expanded <= environment({}).keys()


def test_other_commands_find_the_cluster_by_its_folder_alone(tmp_path: Path) -> None:
    named = {"ROOST_RUN_DIR": str(tmp_path)}
    assert cluster.load_running(named).cluster.port == 7000
    cluster._write_record(tmp_path, environment(named | {"ROOST_PORT": "9000"}))
    assert cluster.load_running(named).cluster.port == 9000
    assert cluster.load_running(named | {"ROOST_PORT": "9500"}).cluster.port == 9500
    assert stat.S_IMODE(cluster.record_path(tmp_path).stat().st_mode) == 0o600
    assert all(key.startswith("ROOST_") for key in json.loads(cluster.record_path(tmp_path).read_text()))


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    cluster.record_path(tmp_path).write_text("{")
    assert cluster.load_running({"ROOST_RUN_DIR": str(tmp_path)}).cluster.port == 7000


def test_where_nothing_runs_commands_that_need_a_cluster_say_how_to_start_one(tmp_path: Path) -> None:
    named = {"ROOST_RUN_DIR": str(tmp_path)}
    with pytest.raises(ConfigError, match=f"nothing runs in {tmp_path}; `make run` starts"):
        cluster.settings_of_running(named)
    cluster._write_record(tmp_path, environment(named | {"ROOST_PORT": "9000"}))
    assert cluster.settings_of_running(named).cluster.port == 9000


@pytest.mark.parametrize("wrong", ["run%d", 'a"b', "a\\b", "a\nb"])
def test_a_folder_supervisord_would_misread_is_refused_before_it_is_made(tmp_path: Path, wrong: str) -> None:
    settings = load({"ROOST_RUN_DIR": str(tmp_path / wrong)})
    with pytest.raises(ConfigError, match="ROOST_RUN_DIR"):
        cluster.start(settings, Places(settings), {})
    assert list(tmp_path.iterdir()) == []


def test_clearing_removes_what_belongs_to_a_running_cluster_only(tmp_path: Path) -> None:
    (tmp_path / "sock").mkdir()
    gone = ["sock/redis.sock", "supervisord.pid", "cluster.json"]
    kept = ["secrets.toml", "redis.conf"]
    for name in gone + kept:
        (tmp_path / name).touch()
    cluster.clear(tmp_path)
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert all((tmp_path / name).exists() for name in kept)
    cluster.clear(tmp_path)


def test_two_starts_at_once_in_one_folder_are_refused(tmp_path: Path) -> None:
    with (
        cluster._starting(tmp_path),
        pytest.raises(ConfigError, match="another"),
        cluster._starting(tmp_path),
    ):
        pass
    with cluster._starting(tmp_path):
        pass


def test_stopping_where_nothing_runs_says_so(tmp_path: Path) -> None:
    (tmp_path / "supervisord.pid").write_text("1\n")
    assert cluster.stop(tmp_path) is False
