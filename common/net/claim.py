"""A process name of a run folder, held by one process at a time, and the life it is in.

    sock/<name>.lock    locked while the process runs; holds the incarnation claimed last

An incarnation sorts after all earlier ones of its name, also when the clock was set
back in between: others drop what comes from an older one.

Source: docs/architecture.md, section 4.
"""

from __future__ import annotations

import fcntl
import secrets as random
from pathlib import Path

from common.errors import ConfigError


class Claim:
    """Take a name until `release`, or the end of the process.

    Args:
        run_dir: the run folder; `sock` in it is made where it is missing.
        name: process name, e.g. "gateway-0".
        now_us: unix microseconds.

    Attributes:
        incarnation: "time-random", both hexadecimal; the time is `now_us`, or just above the last one's.

    Raises:
        ConfigError: another process has the name, or the folder cannot be written.
    """

    def __init__(self, run_dir: Path, name: str, now_us: int) -> None:
        path = run_dir / "sock" / f"{name}.lock"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("a+")
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}; set ROOST_RUN_DIR to a writable folder"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ConfigError(
                f"{name} runs already in this run folder ({path} is locked); "
                "end it first, or set another ROOST_RUN_DIR"
            ) from None
        self.incarnation = self._next(now_us)

    def _next(self, now_us: int) -> str:
        self._file.seek(0)
        moment = max(now_us, _time_of(self._file.read()) + 1)
        incarnation = f"{moment:016x}-{random.token_hex(4)}"
        self._file.truncate(0)
        self._file.write(incarnation)
        self._file.flush()
        return incarnation

    def release(self) -> None:
        """Let the name go; a second time changes nothing."""
        self._file.close()


def _time_of(text: str) -> int:
    """Give the time of an incarnation; 0 for what is none."""
    try:
        return int(text.partition("-")[0], 16)
    except ValueError:
        return 0
