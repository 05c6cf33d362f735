"""The `roost` script itself, and what every command says about itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.settings import ROOT
from tools.main import COMMANDS, main


def run(script: Path, *arguments: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_works_from_any_folder_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "roost"
    link.symlink_to(ROOT / "roost")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "main.py").write_text("raise SystemExit('the wrong tools')\n")
    told = run(link, "--help", cwd=str(tmp_path))
    assert (told.returncode, told.stdout[:12]) == (0, "usage: roost"), told.stderr


def test_without_a_venv_it_says_what_makes_one(tmp_path: Path) -> None:
    shutil.copy(ROOT / "roost", tmp_path / "roost")
    told = run(tmp_path / "roost", "status")
    assert told.returncode == 1
    assert "make run" in told.stderr
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: roost {command}" in capsys.readouterr().out


def test_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_a_wrong_setting_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_PORT", "70000000")
    assert main(["down"]) == 2
    said = capsys.readouterr().err
    assert "cluster.port = 70000000" in said
    assert said.count("\n") == 1
