"""Make .venv from the lock files: `python3 tools/install.py runtime` or `… dev`.

Run by the Makefile with whatever python3 there is, so the first lines stay readable
for old ones. `uv` does the work if it is on PATH, else `python3 -m venv` and pip; of dev.lock
pip installs `uv` only, which installs the rest in 2 s where pip takes 40.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOW, HIGH = (3, 11), (3, 13)
CURE = (
    "Roost needs Python 3.11 to 3.13. Install one (Debian, Ubuntu: `apt install python3.12 "
    "python3.12-venv`; anywhere: `uv`, https://docs.astral.sh/uv/, which brings its own) and run make again, "
    "with PYTHON=/path/to/python3 if it is not first on PATH."
)
CHECKED = ("--quiet", "--require-hashes", "--no-deps", "-r")
NO_VENV = (
    "this Python cannot make virtual environments. Debian and Ubuntu keep that apart: "
    "`apt install python3-venv`; or put `uv` on PATH. Then run make again."
)


def version_of(python: "str | Path") -> "tuple[int, int] | None":
    """Give (major, minor) of an interpreter, or None if it does not run."""
    probe = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        output = subprocess.check_output([str(python), "-c", probe], stderr=subprocess.DEVNULL, timeout=30)
        major, minor = output.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return int(major), int(minor)


def fits(version: "tuple[int, int] | None") -> bool:
    """Tell whether a version is one Roost is tested with."""
    return version is not None and LOW <= version <= HIGH


def find_python(first: str = sys.executable) -> "str | None":
    """Give a fitting interpreter: `first`, else the newest python3.x on PATH, else None."""
    names = ["python3.13", "python3.12", "python3.11"]
    candidates = [first] + [shutil.which(name) for name in names]
    return next((python for python in candidates if python and fits(version_of(python))), None)


def make_venv(uv: "str | None", python: "str | None") -> None:
    """Make .venv anew, unless the one that is there still works."""
    if fits(version_of(PYTHON)) and (uv or _answers([PYTHON, "-m", "pip", "--version"])):
        return
    if uv:
        _do([uv, "venv", "--quiet", "--clear", "--python", python or ">=3.11,<3.14", VENV], CURE)
        return
    if python is None:
        sys.exit(f"python3 is {sys.version.split()[0]}. {CURE}")
    _do([python, "-m", "venv", "--clear", VENV], NO_VENV)


def install(uv: "str | None", which: str) -> None:
    """Put into .venv what requirements/<which>.lock lists, each file checked by its hash.

    The lock is complete, so nothing is resolved: pip, asked to, takes `pydantic[email]` of a
    dependency for another requirement than the pinned `pydantic` and wants the newest.
    """
    lock = ROOT / "requirements" / f"{which}.lock"
    if uv:
        installed = _runs(_with_uv([uv], lock))
    else:
        brought = _bring_uv(lock) and _runs(_with_uv([PYTHON, "-m", "uv"], lock))
        installed = brought or _runs(_with_pip(lock))
    if not installed:
        sys.exit(f"could not install {lock.name}; the lines above say why")


def _bring_uv(lock: Path) -> bool:
    """Have pip install the `uv` that a lock pins; False where it pins none or none fits this machine."""
    entry = re.search(r"^uv==.*(?:\n    --hash.*)*", lock.read_text(), re.MULTILINE)
    if entry is None:
        return False
    only = VENV / "uv.lock"
    only.write_text(f"{entry[0]}\n")
    return _runs([*_with_pip(only), "--only-binary", ":all:"])


def _with_uv(uv: "Sequence[str | Path]", lock: Path) -> "list[str | Path]":
    return [*uv, "pip", "install", "--python", PYTHON, *CHECKED, lock]


def _with_pip(lock: Path) -> "list[str | Path]":
    """Python compiles what it imports; pip would first compile everything, as long as it installs."""
    return [PYTHON, "-m", "pip", "install", "--no-compile", *CHECKED, lock]


def _answers(command: "Sequence[str | Path]") -> bool:
    return (
        subprocess.call([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        == 0
    )


def _runs(command: "Sequence[str | Path]") -> bool:
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return subprocess.call([str(part) for part in command], env=environment) == 0


def _do(command: "Sequence[str | Path]", failure: str) -> None:
    if not _runs(command):
        sys.exit(failure)


def main(which: str) -> None:
    """Make .venv, fill it, and leave a stamp for make."""
    uv = shutil.which("uv")
    print(f"making .venv ({which}) with {'uv' if uv else 'pip'} …", flush=True)
    make_venv(uv, find_python())
    install(uv, which)
    for stamp in ("runtime", "dev") if which == "dev" else ("runtime",):
        (VENV / f".{stamp}").touch()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("runtime", "dev"):
        sys.exit("usage: python3 tools/install.py runtime|dev")
    main(sys.argv[1])
