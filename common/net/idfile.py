"""The state file of an id region on disk: replaced whole, safe against a kill at any instant.

A write goes to `<path>.tmp`, is synced, renamed over `<path>`, and the folder is
synced. Whoever is killed in between leaves the old file or the new one, never half of
one; a left-over `.tmp` is never read. What the bytes mean is in common/rules/ids.py.

Source: docs/storage.md, section 1.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from common.errors import ConfigError
from common.rules.ids import State, encode


class RegionFile:
    """One state file, held by one process of this host.

    Args:
        path: its place; the folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(path.name + ".tmp")
        self._lock_path = path.with_name(path.name + ".lock")
        self._lock: int | None = None
        self._written = 0

    def lock(self) -> None:
        """Keep other processes of this host out, until `close` or the end of this process.

        Raises:
            ConfigError: another process has it; the text names its pid.
        """
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise ConfigError(
                f"{self.path}: the ids of this shard are in use by the process with pid {holder}; "
                f"stop it, or give this dbserver another shard (dbserver.first_shard)"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def read(self) -> bytes | None:
        """Give the bytes of the state file, None when there is none.

        Raises:
            OSError: it is there but cannot be read; that is not the same as none.
        """
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, state: State) -> None:
        """Put `state` on disk, to stay. Blocks for two syncs; one write at a time.

        Raises:
            OSError: it may be the old state or the new one that is on disk.
            ValueError: the bound would go back; nothing was written.
        """
        if state.bound < self._written:
            raise ValueError(f"bound {state.bound} is below {self._written}, which was written before")
        self._write_temporary(encode(state))
        os.replace(self._temporary, self.path)
        self._sync_folder()
        self._written = state.bound

    def close(self) -> None:
        """Let go of the lock."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.close(self._lock)
            self._lock = None

    def _write_temporary(self, data: bytes) -> None:
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(descriptor, data)
            if written != len(data):
                raise OSError(f"{self._temporary}: only {written} of {len(data)} bytes were written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
