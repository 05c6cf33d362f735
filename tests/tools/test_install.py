from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from common.settings import ROOT
from tools import install


def fake_python(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_a_fitting_python_is_taken_as_it_is(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "python3", "3 12")
    assert install.find_python(str(python)) == str(python)


def test_one_too_old_gives_way_to_another_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = fake_python(tmp_path, "python3", "3 9")
    newer = fake_python(tmp_path, "python3.11", "3 11")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.find_python(str(old)) == str(newer)


@pytest.mark.parametrize("version", ["3 10", "3 14", "2 7", "nonsense"])
def test_no_other_version_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.find_python(str(fake_python(tmp_path, "python3", version))) is None


def test_without_any_the_cure_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "PYTHON", tmp_path / "none")
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 to 3\.13.*apt install"):
        install.make_venv(None, None)


def test_the_script_can_be_read_by_an_old_python() -> None:
    """Annotations there are evaluated, or strings: nothing newer than Python 3.7 but in strings."""
    code = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 7))"
    subprocess.run([sys.executable, "-c", code, str(ROOT / "tools" / "install.py")], check=True, timeout=30)


def locked(which: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{which}.lock").read_text().splitlines()
    found = (re.match(r"([a-z0-9.-]+)==([^ ]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def pinned(requirements: list[str]) -> dict[str, str]:
    return dict(re.split("==|;", line, maxsplit=2)[:2] for line in requirements)


@pytest.fixture(scope="module")
def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_lock_files_hold_what_the_project_asks_for(project: Any) -> None:
    runtime = pinned(project["project"]["dependencies"])
    assert runtime.items() <= locked("runtime").items(), "run `make lock`"
    assert (runtime | pinned(project["dependency-groups"]["dev"])).items() <= locked("dev").items()


def test_development_packages_stay_out_of_the_runtime(project: Any) -> None:
    assert not {"pytest", "mypy", "ruff", "locust", "hypothesis"} & locked("runtime").keys()
    assert locked("runtime").items() <= locked("dev").items()


def test_what_gunicorns_gevent_worker_imports_is_installed_at_runtime() -> None:
    asked = [line for line in importlib.metadata.requires("gunicorn") or [] if 'extra == "gevent"' in line]
    names = {re.split("[^a-z0-9-]", line, maxsplit=1)[0] for line in asked}
    assert names
    assert names <= locked("runtime").keys()


def test_the_lock_files_check_every_file_and_name_no_host() -> None:
    for which in ("runtime", "dev"):
        text = (ROOT / "requirements" / f"{which}.lock").read_text()
        entries = re.findall(r"^[a-z0-9.-]+==.*(?:\n    --hash.*)*", text, re.MULTILINE)
        assert len(entries) == len(locked(which))
        assert all("--hash=sha256:" in entry for entry in entries)
        assert "://" not in text
        assert "--index-url" not in text


class Venv:
    """A .venv whose python writes down what it is asked and cannot do `refused`."""

    def __init__(self, folder: Path) -> None:
        (folder / "bin").mkdir(parents=True)
        self.asked = folder / "asked"
        self.python = folder / "bin" / "python"
        self.refuse("nothing")

    def refuse(self, refused: str) -> None:
        self.python.write_text(
            f'#!/bin/sh\necho "$@" >> {self.asked}\ncase "$*" in *"{refused}"*) exit 1;; esac\n'
        )
        self.python.chmod(0o755)

    def tools(self) -> list[str]:
        """Give what was run: "pip uv.lock", "uv dev.lock", …"""
        lines = self.asked.read_text().splitlines()
        locks = [re.findall(r"(\S+\.lock)", line)[0] for line in lines]
        return [f"{line.split()[1]} {Path(lock).name}" for line, lock in zip(lines, locks, strict=True)]


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Venv:
    made = Venv(tmp_path / "venv")
    monkeypatch.setattr(install, "VENV", made.python.parent.parent)
    monkeypatch.setattr(install, "PYTHON", made.python)
    return made


def test_pip_installs_the_locked_uv_and_that_the_rest(venv: Venv) -> None:
    install.install(None, "dev")
    assert venv.tools() == ["pip uv.lock", "uv dev.lock"]
    version = locked("dev")["uv"]
    lines = (install.VENV / "uv.lock").read_text().splitlines()
    assert lines[0] == f"uv=={version} \\"
    assert all("--hash=sha256:" in line for line in lines[1:])
    assert "--require-hashes" in venv.asked.read_text().splitlines()[0]


def test_without_uv_for_this_machine_pip_installs_all(venv: Venv) -> None:
    venv.refuse("uv.lock")
    install.install(None, "dev")
    assert venv.tools() == ["pip uv.lock", "pip dev.lock"]


def test_what_uv_cannot_install_pip_does(venv: Venv) -> None:
    venv.refuse("-m uv")
    install.install(None, "dev")
    assert venv.tools() == ["pip uv.lock", "uv dev.lock", "pip dev.lock"]


def test_at_runtime_no_uv_is_brought_along(venv: Venv) -> None:
    install.install(None, "runtime")
    assert venv.tools() == ["pip runtime.lock"]


def test_what_nothing_can_install_is_said(venv: Venv) -> None:
    venv.refuse("install")
    with pytest.raises(SystemExit, match=r"could not install dev\.lock"):
        install.install(None, "dev")
