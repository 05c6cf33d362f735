from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from tools.logs import Follower, files_of, show


def test_the_first_look_gives_the_last_lines_and_the_next_ones_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "world-0.log"
    path.write_text("one\ntwo\nthree\n")
    follower = Follower(path, 2)
    assert list(follower.lines()) == ["two", "three"]
    assert list(follower.lines()) == []
    with path.open("a") as file:
        file.write("four\nfi")
        file.flush()
        assert list(follower.lines()) == ["four"]
        file.write("ve\n")
    assert list(follower.lines()) == ["five"]
    follower.close()


def test_a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "world-0.log"
    path.write_text("one\n")
    follower = Follower(path, 10)
    assert list(follower.lines()) == ["one"]
    with path.open("a") as file:
        file.write("last\n")
    path.rename(tmp_path / "world-0.log.1")
    path.write_text("first\n")
    assert list(follower.lines()) == ["last", "first"]
    follower.close()


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "world-0.log", 2)
    assert list(follower.lines()) == []
    (tmp_path / "world-0.log").write_text("one\n")
    assert list(follower.lines()) == ["one"]
    follower.close()


def logs(run_dir: Path) -> Path:
    (run_dir / "log").mkdir()
    for name in ("gateway-0", "gateway-10", "world-0", "supervisord"):
        (run_dir / "log" / f"{name}.log").write_text(f"from {name}\n")
    return run_dir


GROUPS = {
    "gateway": ["gateway-0", "gateway-10"],
    "gateway-0": ["gateway-0"],
    "supervisord": ["supervisord"],
}


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_or_a_process_is_chosen_by_name(tmp_path: Path, group: str) -> None:
    assert [path.stem for path in files_of(logs(tmp_path), group)] == GROUPS[group]


def test_an_unknown_group_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gateway, function, session"):
        files_of(logs(tmp_path), "gatway")


def test_each_line_says_whose_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(logs(tmp_path), "gateway", 5, follow=False) == 0
    assert capsys.readouterr().out == "gateway-0   from gateway-0\ngateway-10  from gateway-10\n"
